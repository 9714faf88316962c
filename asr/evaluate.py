"""Transcribes a manifest and scores the result: hypotheses.jsonl, wer.json, reliability.png and report.html."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from asr.alignment.confidence import Measure, confidence_measure
from asr.audio.io import load_audio
from asr.bundle.bundle import Bundle
from asr.bundle.corpus import encode_corpus
from asr.bundle.decode import Decoding
from asr.bundle.recognition import Decoded, DecodeOptions, decode_encoded, search_encoded
from asr.bundle.training_texts import TrainingTexts
from asr.bundle.words import PlacedWords
from asr.data.manifest import read_manifest
from asr.experiments.prepare import evaluation_loader
from asr.scoring.calibration import Calibration, calibrate, draw_reliability
from asr.scoring.html.media import worst_utterances
from asr.scoring.html.report import write_html
from asr.scoring.results import Results
from asr.scoring.wer import Score, score, word_hits
from asr.system.display import counted
from asr.system.runtime import write_text_atomic
from asr.text.normalize import normalize
from asr.types import Batch, Hypothesis, Utterance, Word

NO_WORDS = PlacedWords((), ())

MANY_EMPTY = 0.1  # share of utterances without a word that deserves a warning


@dataclass(frozen=True)
class HotwordEffect:
    """Scores with and without hotwords, of the utterances whose reference contains one and of the others."""

    containing: tuple[Score, Score] | None  # without, with; None where there are no such utterances
    others: tuple[Score, Score] | None
    recall: tuple[int, int, int]  # hotwords found without and with boosting, and how many there are

    def to_json(self) -> dict[str, Any]:
        """Scores under "without" and "with" for each group, and the recall of the hotwords themselves."""
        groups = {"containing": self.containing, "others": self.others}
        return {
            **{
                name: {"without": pair[0].to_json(), "with": pair[1].to_json()} if pair else None
                for name, pair in groups.items()
            },
            "recall": dict(zip(("without", "with", "of"), self.recall, strict=True)),
        }


@dataclass(frozen=True)
class Evaluation:
    """What a model made of a manifest, and how good that is."""

    manifest: Path
    utterances: Sequence[Utterance]  # in the order of the manifest
    hypotheses: dict[str, str]  # by utterance id, in the same order
    n_best: dict[str, list[dict[str, Any]]]  # text, score and parts of the best ones, by utterance id
    score: Score
    strata: dict[str, Score | None]  # "seen" and "unseen"; None for a stratum without utterances
    confidences: dict[str, float | None]  # by utterance id; None without words or without a CTC head
    calibration: Calibration | None  # of the words' confidences; None without a CTC head
    hotwords: HotwordEffect | None  # None without hotwords
    worst: dict[str, tuple[Word, ...]]  # the worst utterances with the recognised words, those only with a CTC head
    decoding: Decoding
    num_batches: int
    seconds: float  # loading, features, model and search

    @property
    def rtf(self) -> float | None:
        """Seconds of work per second of audio; None without audio."""
        audio_seconds = sum(utterance.duration for utterance in self.utterances)
        return self.seconds / audio_seconds if audio_seconds else None

    def to_json(self) -> dict[str, Any]:
        """The keys of a score, those of each stratum, the calibration, and the search with its settings."""
        return {
            **self.score.to_json(),
            "strata": {name: score.to_json() if score else None for name, score in self.strata.items()},
            "confidence": self.calibration.to_json() if self.calibration else None,
            "hotword_effect": self.hotwords.to_json() if self.hotwords else None,
            **self.decoding.to_json(),
        }

    def save(self, folder: Path, model: Path | None = None) -> list[str]:
        """Write `hypotheses.jsonl`, `wer.json`, `report.html` and, with matplotlib, `reliability.png`.

        Each appears whole or not at all. The report names the model folder, `model`. Returns lines about what it lacks.
        """
        rows = (
            {
                "id": utterance.id,
                "text": self.hypotheses[utterance.id],
                "reference": utterance.text,
                "confidence": self.confidences[utterance.id],
                **({"nbest": self.n_best[utterance.id]} if utterance.id in self.n_best else {}),
            }
            for utterance in self.utterances
        )
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        write_text_atomic(folder / "hypotheses.jsonl", lines)
        write_text_atomic(folder / "wer.json", json.dumps(self.to_json(), indent=2) + "\n")
        if self.calibration is not None:
            draw_reliability(self.calibration, folder / "reliability.png")
        return write_html(
            Results(self.score),
            folder / "report.html",
            title=f"{model.resolve().name} on {self.manifest.name}" if model else self.manifest.name,
            facts={"Model": str(model), **_facts(self)} if model else _facts(self),
            utterances=self.utterances,
            worst=self.worst,
            parts={f"texts {name} in training": part for name, part in self.strata.items() if part},
        )


def evaluate(
    bundle: Bundle,
    manifest: Path,
    decoding: Decoding,
    *,
    num_best: int = 1,
    training_texts: TrainingTexts | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    max_batch_seconds: float | None = None,
    confidence: str = "posterior",
    num_worst: int = 20,
    on_progress: Callable[[int, int], None] = lambda *_: None,
) -> Evaluation:
    """Transcribe every utterance of a manifest with a model on the CPU or moved to `device`, and score all of them.

    Both sides are normalised as the training texts were. An utterance too short for the model counts with an empty
    hypothesis. With hotwords, everything is searched without them, too. `num_best` above 1 keeps so many hypotheses of
    each utterance. With `training_texts`, utterances whose normalised text occurred in training are scored apart.
    `confidence` names the measure of `asr.alignment.confidence` whose calibration is judged. The `num_worst` worst
    utterances get words with times. Raises ManifestError, and AudioError naming an utterance that cannot be read: a
    score that leaves some out would be none.
    """
    measure = confidence_measure(confidence)
    utterances = read_manifest(manifest)
    config = bundle.spec
    began = time.perf_counter()
    device = torch.device(device)
    bundle.model.to(device)
    bundle = bundle.with_dtype(dtype)
    long_enough = [utterance for utterance in utterances if _makes_frames(bundle, utterance)]
    loader = evaluation_loader(config, long_enough, bundle, num_workers=0, max_batch_seconds=max_batch_seconds)
    results = _Results(bundle, num_best)
    for ids, decoded in _decode(bundle, loader.epoch(0), decoding, measure, device, dtype, results.plain_texts):
        for id, one in zip(ids, decoded, strict=True):
            results.add(id, one)
            on_progress(len(results.texts), len(long_enough))
    texts, words = results.texts, results.words
    seconds = time.perf_counter() - began
    total = _score(utterances, texts, config.normalize)
    worst = set(worst_utterances(total, num_worst))
    return Evaluation(
        manifest=manifest,
        utterances=utterances,
        hypotheses={utterance.id: texts.get(utterance.id, "") for utterance in utterances},
        n_best=results.n_best,
        score=total,
        strata=_strata(utterances, texts, config.normalize, training_texts),
        confidences={
            utterance.id: words[utterance.id].confidence if utterance.id in words else None for utterance in utterances
        },
        calibration=_calibration(utterances, words, config.normalize),
        hotwords=_hotword_effect(bundle, decoding, utterances, results.plain_texts, texts)
        if decoding.hotwords
        else None,
        worst={
            utterance.id: _word_times(bundle, utterance, words.get(utterance.id))
            for utterance in utterances
            if utterance.id in worst
        },
        decoding=decoding,
        num_batches=loader.num_batches(0),
        seconds=seconds,
    )


@dataclass(frozen=True)
class _Results:
    """What was recognised, by utterance id."""

    bundle: Bundle
    num_best: int
    texts: dict[str, str] = field(default_factory=dict)
    words: dict[str, PlacedWords] = field(default_factory=dict)
    n_best: dict[str, list[dict[str, Any]]] = field(default_factory=dict)  # only where more than one is asked for
    plain_texts: dict[str, str] = field(default_factory=dict)  # without hotwords, where there are any

    def add(self, id: str, decoded: Decoded) -> None:
        """Take one utterance more."""
        self.texts[id] = decoded.text
        self.words[id] = decoded.placed
        if self.num_best > 1:
            best = decoded.n_best[: self.num_best]
            self.n_best[id] = [_scored_text(self.bundle, hypothesis) for hypothesis in best]


def _decode(
    bundle: Bundle,
    batches: Iterable[Batch],
    decoding: Decoding,
    measure: Measure,
    device: torch.device,
    dtype: torch.dtype,
    plain_texts: dict[str, str],
) -> Iterator[tuple[Sequence[str], list[Decoded]]]:
    """Ids and results batch by batch, the encoder running once; with hotwords `plain_texts` gets texts without them."""
    lm = decoding.load_lm(bundle)
    options = DecodeOptions(decoding.build(bundle, lm), measure=measure)
    plain = DecodeOptions(decoding.without_hotwords().build(bundle, lm)) if decoding.hotwords else None
    with closing(encode_corpus(bundle.model, batches, device, dtype)) as corpus:
        for batch, encoded in corpus:
            if plain is not None:
                n_best = search_encoded(bundle, encoded, [plain] * len(batch.ids))
                best = (bundle.tokenizer.decode(hypotheses[0].tokens) for hypotheses in n_best)
                plain_texts.update(zip(batch.ids, best, strict=True))
            yield batch.ids, decode_encoded(bundle, encoded, [options] * len(batch.ids))


def _scored_text(bundle: Bundle, hypothesis: Hypothesis) -> dict[str, Any]:
    return {
        "text": bundle.tokenizer.decode(hypothesis.tokens),
        "score": hypothesis.score,
        "parts": hypothesis.parts,
    }


def _hotword_effect(
    bundle: Bundle,
    decoding: Decoding,
    utterances: Sequence[Utterance],
    plain: dict[str, str],
    boosted: dict[str, str],
) -> HotwordEffect:
    """Compare hypotheses by utterance id without and with hotwords."""
    normalizer = bundle.spec.normalize
    phrases = [normalize(hotword.text, normalizer).split() for hotword in decoding.hotwords]

    def occurrences(text: str) -> list[int]:
        words = normalize(text, normalizer).split()
        return [
            sum(words[at : at + len(phrase)] == phrase for at in range(len(words) - len(phrase) + 1))
            for phrase in phrases
        ]

    containing = [utterance for utterance in utterances if any(occurrences(utterance.text))]
    ids = {utterance.id for utterance in containing}
    others = [utterance for utterance in utterances if utterance.id not in ids]

    def both(rows: Sequence[Utterance]) -> tuple[Score, Score] | None:
        return (_score(rows, plain, normalizer), _score(rows, boosted, normalizer)) if rows else None

    def found(texts: dict[str, str]) -> int:
        pairs = ((occurrences(row.text), occurrences(texts.get(row.id, ""))) for row in containing)
        return sum(min(spoken, written) for pair in pairs for spoken, written in zip(*pair, strict=True))

    total = sum(sum(occurrences(row.text)) for row in containing)
    return HotwordEffect(both(containing), both(others), (found(plain), found(boosted), total))


def _makes_frames(bundle: Bundle, utterance: Utterance) -> bool:
    """Whether the encoder makes a frame of it."""
    return bundle.encoder_frames(round(utterance.duration * bundle.frontend.sample_rate)) > 0


def _score(utterances: Iterable[Utterance], texts: dict[str, str], normalizer: str) -> Score:
    utterances = list(utterances)
    references = {utterance.id: utterance.text for utterance in utterances}
    speakers = {utterance.id: utterance.speaker for utterance in utterances}
    return score(references, {id: texts.get(id, "") for id in references}, normalize=normalizer, speakers=speakers)


def _word_times(bundle: Bundle, utterance: Utterance, words: PlacedWords | None) -> tuple[Word, ...]:
    """Words in seconds of the utterance; () where it is not known in which frames they are."""
    if words is None or words.token_frames is None:
        return ()
    rate = bundle.frontend.sample_rate
    waveform = load_audio(utterance.audio, rate, start=utterance.start, duration=utterance.duration)
    timed = words.timed(waveform, rate, bundle.frame_seconds)
    duration = len(waveform) / rate
    return tuple(replace(word, end=min(word.end, duration)) for word in timed)


def _calibration(utterances: Iterable[Utterance], words: dict[str, PlacedWords], normalizer: str) -> Calibration | None:
    """Confidences of all hypothesis words against whether they are right; a normaliser may split or drop a word.

    None where the model gives no confidences.
    """
    if any(placed.confidences is None for placed in words.values()):
        return None
    values: list[float] = []
    right: list[bool] = []
    for utterance in utterances:
        placed = words.get(utterance.id, NO_WORDS)
        parts = [
            (part, value)
            for word, value in zip(placed.words, placed.confidences or (), strict=True)
            for part in normalize(word.text, normalizer).split()
        ]
        values += [value for _, value in parts]
        right += word_hits(normalize(utterance.text, normalizer), " ".join(part for part, _ in parts))
    return calibrate(values, right)


def _strata(
    utterances: Sequence[Utterance], texts: dict[str, str], normalizer: str, training: TrainingTexts | None
) -> dict[str, Score | None]:
    """Scores of the utterances whose text the model has, and has not, seen in training; nothing if that is unknown."""
    if training is None:
        return {}
    strata: dict[str, list[Utterance]] = {"seen": [], "unseen": []}
    for utterance in utterances:
        seen = training.has_text(normalize(utterance.text, normalizer))
        strata["seen" if seen else "unseen"].append(utterance)
    return {name: _score(rows, texts, normalizer) if rows else None for name, rows in strata.items()}


def _facts(evaluation: Evaluation) -> dict[str, str]:
    """How the hypotheses came about, in lines for people."""
    decoding = evaluation.decoding
    settings = ", ".join(f"{name} {value}" for name, value in decoding.search.model_dump(exclude={"name"}).items())
    facts = {
        "Manifest": str(evaluation.manifest),
        "Search": f"{decoding.search.name}{f' ({settings})' if settings else ''}",
        "Speed": f"{evaluation.seconds:.1f} s, real-time factor {evaluation.rtf or 0:.3f}",
    }
    if decoding.lm is not None:
        facts["Language model"] = f"{decoding.lm} ({decoding.lm_mode})"
    if decoding.hotwords:
        facts["Hotwords"] = ", ".join(f"{hotword.text}: {hotword.boost:g}" for hotword in decoding.hotwords)
    if evaluation.calibration is not None:
        facts["Confidence"] = f"expected calibration error {_percent(evaluation.calibration.ece)} %"
    return facts


def table(evaluation: Evaluation) -> str:
    """The result as lines for people; rates in percent. The last line is how far confidences are from the truth."""
    rows = [("all", evaluation.score), *((name, part) for name, part in evaluation.strata.items() if part)]
    lines = [f"{'':8}{'WER %':>8}{'95 % interval':>18}{'S':>6}{'D':>6}{'I':>6}{'words':>8}{'utts':>7}{'CER %':>8}"]
    for name, result in rows:
        words = result.words
        interval = f"{100 * result.interval[0]:.2f} to {100 * result.interval[1]:.2f}" if result.interval else "-"
        lines.append(
            f"{name:8}{_percent(words.rate):>8}{interval:>18}{words.substitutions:>6}{words.deletions:>6}"
            f"{words.insertions:>6}{words.reference_length:>8}{len(result.ids):>7}{_percent(result.characters.rate):>8}"
        )
    lines += _hotword_lines(evaluation.hotwords) if evaluation.hotwords else []
    if (calibration := evaluation.calibration) is not None:
        lines.append(f"confidence: ECE {_percent(calibration.ece)} % over {counted(calibration.words, 'word')}")
    return "\n".join(lines)


def silence(evaluation: Evaluation, steps: int | None) -> str | None:
    """A line where more than a tenth of all utterances got no word; None otherwise.

    `steps` are those that the model was trained for, None where nobody knows.
    """
    spoken = [utterance for utterance in evaluation.utterances if utterance.text.strip()]
    num_empty = sum(not evaluation.hypotheses[utterance.id] for utterance in spoken)
    if num_empty <= MANY_EMPTY * len(spoken):
        return None
    if num_empty < len(spoken):
        return f"{num_empty} of {counted(len(spoken), 'utterance')}: no words recognised"
    return "the model writes nothing" + ("" if steps is None else f": trained for {counted(steps, 'step')}")


def _hotword_lines(effect: HotwordEffect) -> list[str]:
    """Gain and harm of the hotwords."""
    without, boosted, total = effect.recall
    lines = [f"hotwords: {without} of {total} found without boosting, {boosted} with"]
    for name, pair in (("with a hotword", effect.containing), ("without one", effect.others)):
        if pair is not None:
            plain, helped = (score.words for score in pair)
            lines.append(
                f"  {counted(len(pair[0].ids), 'utterance')} {name}: "
                f"WER {_percent(plain.rate)} -> {_percent(helped.rate)} % "
                f"({plain.errors} -> {counted(helped.errors, 'error')})"
            )
    return lines


def _percent(rate: float | None) -> str:
    return "-" if rate is None else f"{100 * rate:.2f}"
