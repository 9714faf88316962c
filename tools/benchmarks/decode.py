"""CTC beam search: ctc_prefix_beam beside pyctcdecode with KenLM; ratios of speed, and whose texts score higher."""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from asr.lm.ngram.arpa import read_arpa, write_arpa
from asr.lm.ngram.counts import IdCorpus
from asr.lm.ngram.kneser_ney import estimate
from tools.benchmarks.common import BenchError, Worker, alternate, finish, machine, peer_python, say, table
from tools.benchmarks.exact import ExactScorer, compare_texts
from tools.benchmarks.posteriors import Language, hear

PEERS = "decoding"  # the set that tools/bench is to install

UNK_SCORE = -10.0 * math.log(10.0)  # pyctcdecode's default, as a natural logarithm
RATIO_AT_LEAST = {False: 3.0, True: 2.0}  # times as fast as pyctcdecode, by "with a language model"
BEAM_100_AT_MOST = 4.0  # times the time of beam 10
LM_DIFFERENCE_AT_MOST = 1e-4  # between our language model and KenLM, for a sentence


@dataclass(frozen=True)
class Settings:
    """One comparison. Thresholds are natural logarithms; both sides prune with the same."""

    utterances: int
    rounds: int
    seed: int
    frames: int = 500
    vocabulary: int = 500
    words: int = 5000
    lm_sentences: int = 20000
    lm_order: int = 3
    lm_weight: float = 0.5
    unk_score: float = UNK_SCORE
    token_threshold: float = -5.0
    beam_threshold: float = -10.0
    processors: int = 2  # threads or processes where all utterances are decoded at once


@dataclass(frozen=True)
class Case:
    """One way to decode all utterances, timed once a round."""

    side: str  # "asr" or "pyctcdecode"
    with_lm: bool
    beam: int = 10
    at_once: bool = False
    n_best: bool = False  # pyctcdecode forgets more, and is faster, where only the best text is wanted

    @property
    def name(self) -> str:
        """What tells it from the others."""
        parts = [self.side, "LM" if self.with_lm else "no LM", f"beam {self.beam}"]
        return ", ".join(parts + ["at once"] * self.at_once + ["n-best"] * self.n_best)


def cases(with_lm: bool) -> list[Case]:
    """What is timed, with or without a language model."""
    return [
        Case("asr", with_lm),
        Case("pyctcdecode", with_lm),
        Case("asr", with_lm, beam=100),
        Case("pyctcdecode", with_lm, n_best=True),
        Case("asr", with_lm, at_once=True),
        Case("pyctcdecode", with_lm, at_once=True),
    ]


def main() -> int:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(prog="tools/bench decode", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--check", action="store_true", help="exit with status 1 if a target is missed")
    parser.add_argument("--utterances", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    settings = Settings(arguments.utterances, arguments.rounds, arguments.seed)
    try:
        with tempfile.TemporaryDirectory() as folder:
            report = compare(settings, Path(folder))
    except BenchError as error:
        say(f"error: {error}")
        return 1
    print(json.dumps(report, indent=2) if arguments.json else describe(report))
    return finish(report["targets"], arguments.check)


def compare(settings: Settings, folder: Path) -> dict[str, Any]:
    """Everything that is measured, as JSON."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(settings.seed)
    language = Language.generate(rng, settings.vocabulary, settings.words)
    heard = [hear(rng, language, settings.frames) for _ in range(settings.utterances)]
    inputs, arpa = folder / "inputs.npz", folder / "lm.arpa"
    np.savez(inputs, log_probs=np.stack([one.log_probs for one in heard]), pieces=np.array(language.pieces))
    train_lm(rng, language, settings, arpa)
    given: dict[str, Any] = {"inputs": str(inputs), "arpa": str(arpa)}
    given |= {"lm_weight": settings.lm_weight, "unk_score": settings.unk_score}
    answers: dict[Case, list[Any]] = {}
    with ExitStack() as stack:
        cache = {"NUMBA_CACHE_DIR": str(folder / "jit")}  # empty, so that compiling is measured and not found done
        ours = stack.enter_context(Worker("tools.benchmarks.decode_ours", env=cache))
        peer = stack.enter_context(Worker("tools.benchmarks.decode_peer", peer_python(PEERS)))
        words = [language.text([word]) for word in range(len(language.words))]
        versions = {
            "asr": ours.ask("load", **given),
            "pyctcdecode": peer.ask("load", **given, words=words, processes=settings.processors),
        }
        first_calls = {"compiling": ours.ask("first_call")}
        with Worker("tools.benchmarks.decode_ours", env=cache) as another:
            another.ask("load", **given)
            first_calls["compiled before"] = another.ask("first_call")
        for with_lm in RATIO_AT_LEAST:
            say(f"{settings.rounds} rounds {'with' if with_lm else 'without'} a language model")
            answers |= time_cases(cases(with_lm), {"asr": ours, "pyctcdecode": peer}, settings)
        lm = read_arpa(arpa)
        spoken = [one.text for one in heard]
        both = zip(peer.ask("lm_scores", texts=spoken), spoken, strict=True)
        lm_difference = max(abs(theirs - lm.sentence_log_prob(text.split())) for theirs, text in both)
    scorers = {False: ExactScorer(), True: ExactScorer(lm, settings.lm_weight, settings.unk_score)}
    quality = {}
    for with_lm, scorer in scorers.items():
        judged = [case for case in answers if case.with_lm is with_lm and not case.at_once]
        texts = {case.name: answers[case][-1]["texts"] for case in judged}  # every round finds the same
        quality["LM" if with_lm else "no LM"] = compare_texts(heard, language, texts, scorer)
    report = {
        "benchmark": "decode",
        "settings": asdict(settings),
        "machine": machine(),
        "versions": versions,
        "first_call_seconds": first_calls,
        "timings": {case.name: timing(rounds, settings.utterances) for case, rounds in answers.items()},
        "ratios": ratios(answers),
        "quality": quality,
        "lm_difference": lm_difference,
    }
    return {**report, "targets": targets(report)}


def train_lm(rng: np.random.Generator, language: Language, settings: Settings, arpa: Path) -> None:
    """Train the n-gram on text of the same kind as the utterances."""
    sentences = language.sentences(rng, rng.integers(5, 41, settings.lm_sentences))
    say(f"training a {settings.lm_order}-gram on {settings.lm_sentences} sentences")
    with IdCorpus(language.text(words).split() for words in sentences) as corpus:
        write_arpa(arpa, estimate(corpus.count(settings.lm_order)).model)


def time_cases(chosen: Sequence[Case], workers: Mapping[str, Worker], settings: Settings) -> dict[Case, list[Any]]:
    """What every case answers, once a round; the cases take turns."""

    def decode(case: Case) -> Any:
        job: dict[str, Any] = {"with_lm": case.with_lm, "beam": case.beam}
        job |= {"token_threshold": settings.token_threshold, "beam_threshold": settings.beam_threshold}
        if case.side == "asr":
            job["threads"] = settings.processors if case.at_once else 0
        else:
            job |= {"at_once": case.at_once, "n_best": case.n_best}
        return workers[case.side].ask("decode", **job)

    return dict(zip(chosen, alternate([partial(decode, case) for case in chosen], settings.rounds), strict=True))


def timing(rounds: Sequence[Any], utterances: int) -> dict[str, Any]:
    """Seconds of every round, and utterances a second by their median."""
    seconds = [answer["seconds"] for answer in rounds]
    return {"seconds": seconds, "utterances_per_second": utterances / median(each["wall"] for each in seconds)}


def ratios(answers: Mapping[Case, Sequence[Any]]) -> dict[str, dict[str, float]]:
    """Medians over the rounds of one time divided by another of the same round: of the wall clock and of the CPU."""

    def ratio(slow: Case, fast: Case, clock: str) -> float:
        pairs = zip(answers[slow], answers[fast], strict=True)
        return float(median(a["seconds"][clock] / b["seconds"][clock] for a, b in pairs))

    found = {}
    for with_lm in RATIO_AT_LEAST:
        lm = "LM" if with_lm else "no LM"
        ours, wide, at_once = Case("asr", with_lm), Case("asr", with_lm, beam=100), Case("asr", with_lm, at_once=True)
        best, n_best = Case("pyctcdecode", with_lm), Case("pyctcdecode", with_lm, n_best=True)
        found[f"{lm}: as fast as pyctcdecode"] = {clock: ratio(best, ours, clock) for clock in ("wall", "cpu")}
        found[f"{lm}: as fast as pyctcdecode's n-best"] = {
            clock: ratio(n_best, ours, clock) for clock in ("wall", "cpu")
        }
        pool = Case("pyctcdecode", with_lm, at_once=True)  # its CPU time is that of other processes
        found[f"{lm}: as fast as pyctcdecode, at once"] = {"wall": ratio(pool, at_once, "wall")}
        found[f"{lm}: time of beam 100 over beam 10"] = {clock: ratio(wide, ours, clock) for clock in ("wall", "cpu")}
    return found


def targets(report: Mapping[str, Any]) -> dict[str, bool]:
    """What is demanded, in words, and whether it holds."""
    found = {}
    for with_lm, least in RATIO_AT_LEAST.items():
        lm = "LM" if with_lm else "no LM"
        speed = report["ratios"][f"{lm}: as fast as pyctcdecode"]["wall"]
        found[f"{lm}: {speed:.1f} times as fast as pyctcdecode, at least {least:g} wanted"] = speed >= least
        wide = report["ratios"][f"{lm}: time of beam 100 over beam 10"]["wall"]
        line = f"{lm}: beam 100 takes {wide:.1f} times as long as beam 10, at most {BEAM_100_AT_MOST:g} wanted"
        found[line] = wide <= BEAM_100_AT_MOST
        for peer in (Case("pyctcdecode", with_lm), Case("pyctcdecode", with_lm, n_best=True)):
            lower = report["quality"][lm]["beside"][peer.name]["lower"]
            found[f"{lower} utterances score lower than those of '{peer.name}', 0 wanted"] = lower == 0
    difference = report["lm_difference"]
    line = f"our language model and KenLM differ by {difference:.1e}, at most {LM_DIFFERENCE_AT_MOST:g} wanted"
    found[line] = difference <= LM_DIFFERENCE_AT_MOST
    return found


def texts(quality: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """A row for everything that found texts."""
    rows = []
    for name, score in quality["mean_score"].items():
        counts = [str(n) for n in quality["beside"].get(name, {"": "-", " ": "-", "  ": "-"}).values()]
        rows.append((name, f"{quality['token_errors'][name]:.2%}", f"{score:.3f}", *counts))
    return rows


def describe(report: Mapping[str, Any]) -> str:
    """The report for people."""
    settings, machine = report["settings"], report["machine"]
    lines = [
        f"{settings['utterances']} utterances of {settings['frames']} frames, {settings['vocabulary']} tokens; "
        f"medians of {settings['rounds']} rounds; seed {settings['seed']}",
        f"{machine['cpu']}, {machine['cores']} cores, load {machine['load_average']}, {machine['date']}",
        *(f"{side}: " + ", ".join(f"{k} {v}" for k, v in found.items()) for side, found in report["versions"].items()),
        "first call of asr: " + ", ".join(f"{when} {s:.1f} s" for when, s in report["first_call_seconds"].items()),
        "",
        table(
            ("", "utterances/s"),
            [(name, f"{row['utterances_per_second']:.1f}") for name, row in report["timings"].items()],
        ),
        "",
        table(
            ("ratio", "wall clock", "CPU time"),
            [
                (name, f"{row['wall']:.2f}", f"{row['cpu']:.2f}" if "cpu" in row else "-")
                for name, row in report["ratios"].items()
            ],
        ),
    ]
    for quality in report["quality"].values():
        lines += [
            "",
            table(("texts", "token errors", "mean score", "ours is higher", "same", "lower"), texts(quality)),
            "",
        ]
    lines += [f"{'met ' if met else 'MISSED'}  {line}" for line, met in report["targets"].items()]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
