"""Word error rates of Whisper on several sets, by our engine and by faster-whisper with the same weights.

Sets are manifests, NAME=FILE, or the corpora of --corpora: librispeech_pieces, cathy, an4 (its test set),
speechocean762 (its test set), lj002 (a chapter in one piece) and cv61_LANGUAGE of each language there. Both engines are
told the language. Texts are scored as whisper-normalizer's English writes them, other languages' as its basic one;
Japanese and Chinese by characters. What was recognised is kept in --work, and not recognised again; a larger --most
takes the utterances of a smaller one and others.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile

from asr.audio.io import load_audio
from asr.bundle.foreign import import_model
from asr.corpora.importers import import_corpus
from asr.data.manifest import read_manifest
from asr.scoring.compare import compare
from asr.scoring.significance import bootstrap_interval
from asr.scoring.wer import Score, score
from asr.system.runtime import write_text_atomic
from asr.types import Utterance
from recipes.an4.prepare import read_set
from tools.benchmarks.common import ROOT, BenchError, Worker, finish, machine, peer_python, say

PEERS = "whisper"
RATE = 16000
SLICE = 50  # files that a process is given at once; what it wrote is kept after each
BY_CHARACTERS = ("ja", "zh")
PEER, SHORT, EXACT = "faster-whisper", "ours", "ours, --exact"
SYSTEMS = {PEER: "peer", SHORT: "ours", EXACT: "ours_exact"}  # with the names of their files
MAX_MORE_ERRORS = 0.003  # of all sets together
LEVEL = 0.05


@dataclass(frozen=True)
class EvaluationSet:
    """Recordings in one language and what is said in them."""

    name: str
    language: str
    utterances: Sequence[Utterance]  # each the whole of its file

    @property
    def unit(self) -> str:
        """What errors are counted in."""
        return "CER" if self.language in BY_CHARACTERS else "WER"


def corpus_sets(corpora: Path, work: Path) -> dict[str, EvaluationSet]:
    """Those of the corpora that are there."""
    found: dict[str, EvaluationSet] = {}
    folders = {"librispeech_pieces": "librispeech_pieces", "cathy": "cathy", "speechocean762": "speechocean762/test"}
    for name, folder in folders.items():
        if (corpora / folder).is_dir():
            root = corpora / folder.split("/")[0]
            utterances = _kaldi(corpora / folder, root)
            found[name] = EvaluationSet(name, "en", utterances)
    if (corpora / "an4").is_dir():
        found["an4"] = EvaluationSet("an4", "en", read_set(corpora / "an4", "test"))
    if (corpora / "ljspeech_tail").is_dir():
        found["lj002"] = EvaluationSet("lj002", "en", [_chapter(corpora / "ljspeech_tail", work / "lj002.wav")])
    for folder in sorted((corpora / "cv61").glob("*/validated.tsv")):
        language = folder.parent.name
        name = f"cv61_{language}"
        found[name] = EvaluationSet(name, language.split("-")[0], import_corpus(folder).utterances)
    return found


def _kaldi(folder: Path, root: Path) -> list[Utterance]:
    texts, files = (
        dict(line.split(maxsplit=1) for line in (folder / name).read_text(encoding="utf-8").splitlines())
        for name in ("text", "wav.scp")
    )
    return [Utterance(id, root / file, soundfile.info(root / file).duration, texts[id]) for id, file in files.items()]


def _chapter(corpus: Path, joined: Path) -> Utterance:
    """The sentences of one chapter, joined into a file."""
    lines = [line.split("|") for line in (corpus / "metadata.csv").read_text(encoding="utf-8").splitlines()]
    chosen = [(name, text) for name, text, _ in lines if name.startswith("LJ002")]
    waveform = np.concatenate([load_audio(corpus / "wavs" / f"{name}.opus", RATE) for name, _ in chosen])
    if not joined.exists():
        soundfile.write(joined, waveform, RATE)
    return Utterance("LJ002", joined, len(waveform) / RATE, " ".join(text for _, text in chosen))


def drawn(chosen: EvaluationSet, most: int) -> EvaluationSet:
    """A set of so many of its utterances at most, drawn at random; always the same."""
    if most >= len(chosen.utterances):
        return chosen
    order = sorted(chosen.utterances, key=lambda utterance: utterance.id)
    random.Random(0).shuffle(order)
    return replace(chosen, utterances=order[:most])


class Recognition:
    """Texts of sets by each system, recognised once and kept in a folder."""

    def __init__(self, weights: Path, model: Path, work: Path, arguments: argparse.Namespace) -> None:
        self._weights, self._model, self._work = weights, model, work
        self._arguments = arguments

    def texts(self, system: str, chosen: EvaluationSet) -> dict[str, str]:
        """What a system writes, by utterance."""
        kept = self._work / f"{chosen.name}.{SYSTEMS[system]}.jsonl"
        rows = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
        texts = {row["id"]: row["text"] for row in rows}
        left = [utterance for utterance in chosen.utterances if utterance.id not in texts]
        if not left:
            return texts
        with self._worker(system) as worker:
            for start in range(0, len(left), SLICE):
                part = left[start : start + SLICE]
                say(f"{chosen.name}, {system}: {len(texts)} of {len(chosen.utterances)}")
                files = [str(utterance.audio) for utterance in part]
                answer = worker.ask("transcribe", files=files, language=chosen.language)
                texts |= dict(zip((utterance.id for utterance in part), answer["texts"], strict=True))
                lines = (json.dumps({"id": id, "text": text}, ensure_ascii=False) for id, text in texts.items())
                write_text_atomic(kept, "".join(f"{line}\n" for line in lines))
        return texts

    def _worker(self, system: str) -> Worker:
        threads = self._arguments.threads
        env = {"OMP_NUM_THREADS": str(threads)}
        if system == PEER:
            worker = Worker("tools.benchmarks.whisper_peer", peer_python(PEERS), env)
            worker.ask("load", model=str(self._weights), compute_type=self._arguments.compute_type, threads=threads)
            return worker
        worker = Worker("tools.benchmarks.whisper_ours", env=env)
        dtype = self._arguments.dtype
        worker.ask("load", model=str(self._model), dtype=dtype, threads=threads, exact=system == EXACT)
        return worker


def scored(chosen: EvaluationSet, texts: Mapping[str, str]) -> Score:
    """Errors under Whisper's normaliser for the language; of characters where words are not written apart."""
    ids = [utterance.id for utterance in chosen.utterances]
    with Worker("tools.benchmarks.whisper_peer", peer_python(PEERS)) as worker:
        sides = [
            worker.ask("normalize", texts=side, english=chosen.language == "en")
            for side in ([utterance.text for utterance in chosen.utterances], [texts[id] for id in ids])
        ]
    if chosen.language in BY_CHARACTERS:
        sides = [[" ".join("".join(text.split())) for text in side] for side in sides]
    references, hypotheses = (dict(zip(ids, side, strict=True)) for side in sides)
    return score(references, hypotheses)


def show(rate: float | None, interval: tuple[float, float] | None, is_one: bool) -> str:
    """A rate in per cent with its interval; a single recording has none."""
    text = "-" if rate is None else f"{100 * rate:.2f}"
    return text if interval is None or is_one else f"{text} ({100 * interval[0]:.2f} to {100 * interval[1]:.2f})"


def row_of(chosen: EvaluationSet, scores: Mapping[str, Score]) -> tuple[str, bool]:
    """A line of the table, and whether ours is significantly worse."""
    first = scores[PEER]
    is_one = len(first.ids) == 1
    minutes = sum(utterance.duration for utterance in chosen.utterances) / 60
    cells = [chosen.name, chosen.unit, str(len(first.ids)), f"{minutes:.0f}", str(first.words.reference_length)]
    is_worse = False
    for system, own in scores.items():
        cells.append(show(own.words.rate, own.interval, is_one))
        if system == PEER:
            continue
        tested = None if is_one else compare(first, own).bootstrap
        cells.append("-" if tested is None else f"{tested.p_value:.3f}")
        is_worse |= tested is not None and tested.p_value < LEVEL and tested.difference < 0
    return f"| {' | '.join(cells)} |", is_worse


def pooled(all_scores: Sequence[Mapping[str, Score]], systems: Sequence[str]) -> tuple[str, dict[str, float]]:
    """The line of all sets together, and the rates."""
    cells, rates = ["all", "", "", "", ""], {}
    for system in systems:
        errors = np.concatenate([scores[system].utterance_errors for scores in all_scores])
        lengths = np.concatenate([scores[system].utterance_lengths for scores in all_scores])
        rates[system] = float(errors.sum() / lengths.sum())
        cells.append(show(rates[system], bootstrap_interval(errors, lengths), False))
        if system != PEER:
            cells.append("")
    return f"| {' | '.join(cells)} |", rates


def main() -> int:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", help="names, or NAME=MANIFEST [all of the corpora]")
    parser.add_argument(
        "--model", choices=("tiny.en", "base"), default="tiny.en", help="weights that come with the peers"
    )
    parser.add_argument("--work", type=Path, required=True, help="folder for what was recognised")
    parser.add_argument("--systems", default=",".join(SYSTEMS.values()), help="with commas [%(default)s]")
    parser.add_argument("--most", type=int, metavar="N", help="utterances of a set, drawn at random [all]")
    parser.add_argument("--threads", type=int, default=1, help="[%(default)s]")
    parser.add_argument("--compute-type", default="int8", help="of faster-whisper [%(default)s]")
    parser.add_argument("--dtype", default="auto", help="of ours [%(default)s]")
    parser.add_argument("--language", default="en", help="of sets that are manifests [%(default)s]")
    parser.add_argument("--corpora", type=Path, default=ROOT.parent / "shared" / "corpora", help="[%(default)s]")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a target is missed")
    arguments = parser.parse_args()
    work = arguments.work / arguments.model
    work.mkdir(parents=True, exist_ok=True)
    weights, model = work / "weights", work / "model"
    if not model.exists():
        with Worker("tools.benchmarks.whisper_peer", peer_python(PEERS)) as worker:
            worker.ask("weights", name=arguments.model, out=str(weights))
        import_model(weights, model)
    known = corpus_sets(arguments.corpora, arguments.work)
    names = arguments.sets or [name for name in known if arguments.model == "base" or known[name].language == "en"]
    chosen_sets = []
    for name in names:
        label, _, manifest = name.partition("=")
        if not manifest and label not in known:
            raise BenchError(f"no set '{label}'; there are {', '.join(known)}, and NAME=MANIFEST")
        chosen_sets.append(
            EvaluationSet(label, arguments.language, read_manifest(Path(manifest))) if manifest else known[label]
        )
    if arguments.most is not None:
        chosen_sets = [drawn(chosen, arguments.most) for chosen in chosen_sets]
    systems = [system for system, file in SYSTEMS.items() if file in arguments.systems.split(",")]
    recognition = Recognition(weights, model, work, arguments)
    head = ["set", "rate", "clips", "minutes", "words"]
    for system in systems:
        head += [system] if system == PEER else [system, "p"]
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}", flush=True)
    all_scores, worse = [], []
    for chosen in chosen_sets:
        scores = {system: scored(chosen, recognition.texts(system, chosen)) for system in systems}
        if PEER not in scores:
            continue
        line, is_worse = row_of(chosen, scores)
        print(line, flush=True)
        all_scores.append(scores)
        worse += [chosen.name] if is_worse else []
    targets = {"no set is significantly worse": not worse}
    if all_scores:
        line, rates = pooled(all_scores, systems)
        print(line)
        for system in systems:
            targets[f"{system}: at most 0.3 points worse in all"] = rates[system] <= rates[PEER] + MAX_MORE_ERRORS
    say(f"{machine()}; faster-whisper {arguments.compute_type}, ours {arguments.dtype}, {arguments.threads} threads")
    return finish(targets, arguments.check)


if __name__ == "__main__":
    sys.exit(main())
