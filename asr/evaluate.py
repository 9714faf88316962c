"""Transcribes a manifest and scores the result: `hypotheses.jsonl`, `wer.json` and `reliability.png`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from asr.bundle import Bundle, TrainingTexts
from asr.data.manifest import read_manifest
from asr.decoding.base import build_search
from asr.decoding.confidence import Measure, confidence_measure, text_confidence, word_confidences
from asr.decoding.corpus import Decoded, decode_aligned
from asr.registry import NamedConfig
from asr.runtime import write_text_atomic
from asr.scoring.calibration import Calibration, calibrate, draw_reliability
from asr.scoring.wer import Score, score, word_hits
from asr.text.normalize import normalize
from asr.training.prepare import evaluation_loader
from asr.types import Utterance


@dataclass(frozen=True)
class Evaluation:
    """What a model made of a manifest, and how good that is."""

    utterances: Sequence[Utterance]  # in the order of the manifest
    hypotheses: dict[str, str]  # by utterance id, in the same order
    score: Score
    strata: dict[str, Score | None]  # "seen" and "unseen"; None for a stratum without utterances
    confidences: dict[str, float | None]  # by utterance id; None without words or without a CTC head
    calibration: Calibration | None  # of the words' confidences; None without a CTC head
    search: NamedConfig
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
            "search": self.search.model_dump(mode="json"),
        }

    def save(self, folder: Path) -> None:
        """Write `hypotheses.jsonl`, `wer.json` and, with matplotlib, `reliability.png`, each whole or not at all."""
        rows = (
            {
                "id": utterance.id,
                "text": self.hypotheses[utterance.id],
                "reference": utterance.text,
                "confidence": self.confidences[utterance.id],
            }
            for utterance in self.utterances
        )
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        write_text_atomic(folder / "hypotheses.jsonl", lines)
        write_text_atomic(folder / "wer.json", json.dumps(self.to_json(), indent=2) + "\n")
        if self.calibration is not None:
            draw_reliability(self.calibration, folder / "reliability.png")


def evaluate(
    bundle: Bundle,
    manifest: Path,
    search: NamedConfig,
    *,
    training_texts: TrainingTexts | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    max_batch_seconds: float | None = None,
    confidence: str = "posterior",
    on_progress: Callable[[int, int], None] = lambda *_: None,
) -> Evaluation:
    """Transcribe every utterance of a manifest with a model on the CPU or moved to `device`, and score all of them.

    Both sides are normalised as the training texts were. An utterance too short for the model counts with an empty
    hypothesis. With `training_texts`, utterances whose normalised text occurred in training are scored apart.
    `confidence` names the measure of `asr.decoding.confidence` whose calibration is judged. Raises ManifestError, and
    AudioError naming an utterance that cannot be read: a score that leaves some out would be none.
    """
    measure = confidence_measure(confidence)
    utterances = read_manifest(manifest)
    config = bundle.config
    began = time.perf_counter()
    device = torch.device(device)
    model = bundle.model.to(device)
    audible = [utterance for utterance in utterances if _is_audible(bundle, utterance)]
    loader = evaluation_loader(config, audible, bundle, num_workers=0, max_batch_seconds=max_batch_seconds)
    results = decode_aligned(model, build_search(search, model), loader.epoch(0), device, dtype)
    texts: dict[str, str] = {}
    sure: dict[str, list[tuple[str, float]]] = {}
    for decoded in results:
        texts[decoded.id] = bundle.tokenizer.decode(decoded.n_best[0].tokens)
        sure[decoded.id] = _sure_words(bundle, decoded, measure)
        on_progress(len(texts), len(audible))
    seconds = time.perf_counter() - began
    return Evaluation(
        utterances=utterances,
        hypotheses={utterance.id: texts.get(utterance.id, "") for utterance in utterances},
        score=_score(utterances, texts, config.normalize),
        strata=_strata(utterances, texts, config.normalize, training_texts),
        confidences={
            utterance.id: text_confidence([value for _, value in sure.get(utterance.id, ())])
            for utterance in utterances
        },
        calibration=_calibration(utterances, sure, config.normalize) if model.ctc_head is not None else None,
        search=search,
        num_batches=loader.num_batches(0),
        seconds=seconds,
    )


def _is_audible(bundle: Bundle, utterance: Utterance) -> bool:
    """Whether the encoder makes a frame of it."""
    num_samples = torch.tensor([round(utterance.duration * bundle.frontend.sample_rate)])
    return int(bundle.model.output_lens(bundle.frontend.output_lens(num_samples))) > 0


def _score(utterances: Iterable[Utterance], texts: dict[str, str], normalizer: str) -> Score:
    references = {utterance.id: utterance.text for utterance in utterances}
    return score(references, {id: texts.get(id, "") for id in references}, normalize=normalizer)


def _sure_words(bundle: Bundle, decoded: Decoded, measure: Measure) -> list[tuple[str, float]]:
    """The words of the best hypothesis with their confidences; [] without a CTC head."""
    if decoded.ctc_log_probs is None:
        return []
    tokens = decoded.n_best[0].tokens
    words = bundle.tokenizer.words(tokens)
    values = word_confidences(words, decoded.ctc_log_probs, tokens, decoded.token_frames, measure)
    return [(word.text, value) for word, value in zip(words, values, strict=True)]


def _calibration(
    utterances: Iterable[Utterance], sure: dict[str, list[tuple[str, float]]], normalizer: str
) -> Calibration:
    """Confidences of all hypothesis words against whether they are right; a normaliser may split or drop a word."""
    values: list[float] = []
    right: list[bool] = []
    for utterance in utterances:
        parts = [
            (part, value) for word, value in sure.get(utterance.id, ()) for part in normalize(word, normalizer).split()
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


def table(evaluation: Evaluation) -> str:
    """The result as lines for people; rates in percent. The last tells how far confidences are from the truth."""
    rows = [("all", evaluation.score), *((name, part) for name, part in evaluation.strata.items() if part)]
    lines = [f"{'':8}{'WER %':>8}{'95 % interval':>18}{'S':>6}{'D':>6}{'I':>6}{'words':>8}{'utts':>7}{'CER %':>8}"]
    for name, result in rows:
        words = result.words
        interval = f"{100 * result.interval[0]:.2f} to {100 * result.interval[1]:.2f}" if result.interval else "-"
        lines.append(
            f"{name:8}{_percent(words.rate):>8}{interval:>18}{words.substitutions:>6}{words.deletions:>6}"
            f"{words.insertions:>6}{words.reference_length:>8}{len(result.ids):>7}{_percent(result.characters.rate):>8}"
        )
    if (calibration := evaluation.calibration) is not None:
        lines.append(f"confidence: ECE {_percent(calibration.ece)} % over {calibration.words} words")
    return "\n".join(lines)


def _percent(rate: float | None) -> str:
    return "-" if rate is None else f"{100 * rate:.2f}"
