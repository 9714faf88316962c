"""Transcribes every utterance of a manifest with a model, and scores all of them."""

from __future__ import annotations

import time
import warnings
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
from asr.data.manifest import read_references
from asr.evaluate.evaluation import Evaluation
from asr.evaluate.hotword_effect import HotwordEffect, hotword_effect
from asr.evaluate.strata import score_of, strata_of
from asr.experiments.prepare import batch_seconds_of, evaluation_loader
from asr.scoring.calibration import Calibration, calibrate
from asr.scoring.html.media import worst_utterances
from asr.scoring.wer import word_hits
from asr.system.display import counted
from asr.text.normalize import normalize
from asr.transcribe.clips import Clip, clip_batches, joined
from asr.types import Batch, Hypothesis, Utterance, Word

NO_WORDS = PlacedWords((), ())
NUM_SHOWN = 5  # utterances in a warning


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
    normalizer: str | None = None,
    on_progress: Callable[[int, int], None] = lambda *_: None,
) -> Evaluation:
    """Transcribe every utterance of a manifest with a model on the CPU or moved to `device`, and score all of them.

    Both sides are normalised as the training texts were, unless a `normalizer` is named. An utterance too short for the
    model counts with an empty hypothesis. With hotwords, everything is searched without them, too. `num_best` above
    1 keeps so many hypotheses of each utterance.
    With `training_texts`, utterances whose normalised text occurred in training are scored apart.
    `confidence` names the measure of `asr.alignment.confidence` whose calibration is judged. The `num_worst` worst
    utterances get words with times. Raises ManifestError, and AudioError naming an utterance that cannot be read: a
    score that leaves some out would be none.
    """
    measure = confidence_measure(confidence)
    utterances = read_references(manifest)
    config = bundle.spec
    normalizer = normalizer or config.normalize
    normalize("", normalizer)  # names one that is unknown or not installed before any work
    began = time.perf_counter()
    device = torch.device(device)
    bundle.model.to(device)
    bundle = bundle.with_dtype(dtype)
    if decoding.exact:
        bundle = bundle.exact()
    long_enough = [utterance for utterance in utterances if _makes_frames(bundle, utterance)]
    _warn_of_short({utterance.id for utterance in long_enough}, utterances)
    results = _Results(bundle, num_best)
    if bundle.frontend.window_seconds is not None:
        limit = max_batch_seconds or batch_seconds_of(config)
        batches = _decode_clips(bundle, long_enough, decoding, measure, limit, results.plain_texts)
    else:
        loader = evaluation_loader(config, long_enough, bundle, num_workers=0, max_batch_seconds=max_batch_seconds)
        batches = _decode(bundle, loader.epoch(0), decoding, measure, device, dtype, results.plain_texts)
    num_batches = 0
    for ids, decoded in batches:
        num_batches += 1
        for id, one in zip(ids, decoded, strict=True):
            results.add(id, one)
            on_progress(len(results.texts), len(long_enough))
    texts, words = results.texts, results.words
    seconds = time.perf_counter() - began
    total = score_of(utterances, texts, normalizer)
    worst = set(worst_utterances(total, num_worst))
    return Evaluation(
        manifest=manifest,
        utterances=utterances,
        hypotheses={utterance.id: texts.get(utterance.id, "") for utterance in utterances},
        n_best=results.n_best,
        score=total,
        strata=strata_of(utterances, texts, normalizer, training_texts, config.normalize),
        confidences={
            utterance.id: words[utterance.id].confidence if utterance.id in words else None for utterance in utterances
        },
        calibration=_calibration(utterances, words, normalizer),
        hotwords=_effect(decoding, normalizer, utterances, results),
        worst={
            utterance.id: _word_times(bundle, utterance, words.get(utterance.id))
            for utterance in utterances
            if utterance.id in worst
        },
        decoding=decoding,
        num_batches=num_batches,
        seconds=seconds,
        dtype=bundle.dtype,
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
    options = replace(decoding.options(bundle, lm), measure=measure)
    plain = decoding.without_hotwords().options(bundle, lm) if decoding.hotwords else None
    with closing(encode_corpus(bundle.model, batches, device, dtype)) as corpus:
        for batch, encoded in corpus:
            if plain is not None:
                n_best = search_encoded(bundle, encoded, [plain] * len(batch.ids))
                best = (bundle.tokenizer.decode(hypotheses[0].tokens) for hypotheses in n_best)
                plain_texts.update(zip(batch.ids, best, strict=True))
            yield batch.ids, decode_encoded(bundle, encoded, [options] * len(batch.ids))


def _decode_clips(
    bundle: Bundle,
    utterances: Sequence[Utterance],
    decoding: Decoding,
    measure: Measure,
    max_batch_seconds: float,
    plain_texts: dict[str, str],
) -> Iterator[tuple[Sequence[str], list[Decoded]]]:
    """As `_decode`, for models of windows, which need the audio to tell where a text ends."""
    lm = decoding.load_lm(bundle)
    options = replace(decoding.options(bundle, lm), measure=measure)
    plain = decoding.without_hotwords().options(bundle, lm) if decoding.hotwords else None
    for clips in clip_batches(bundle, utterances, max_batch_seconds):
        ids = list(dict.fromkeys(clip.utterance.id for clip in clips))
        if plain is not None:
            plain_texts |= zip(ids, (one.text for one in _by_utterance(bundle, clips, plain)), strict=True)
        yield ids, _by_utterance(bundle, clips, options)


def _by_utterance(bundle: Bundle, clips: Sequence[Clip], options: DecodeOptions) -> list[Decoded]:
    decoded = bundle.decode([clip.waveform for clip in clips], [replace(options, place=clip.place) for clip in clips])
    groups: dict[str, list[int]] = {}
    for place, clip in enumerate(clips):
        groups.setdefault(clip.utterance.id, []).append(place)
    return [
        joined(
            [decoded[place] for place in places],
            [round(clips[place].start / bundle.frame_seconds) for place in places],
        )
        for places in groups.values()
    ]


def _scored_text(bundle: Bundle, hypothesis: Hypothesis) -> dict[str, Any]:
    return {
        "text": bundle.tokenizer.decode(hypothesis.tokens),
        "score": hypothesis.score,
        "parts": hypothesis.parts,
    }


def _makes_frames(bundle: Bundle, utterance: Utterance) -> bool:
    """Whether the encoder makes a frame of it."""
    return bundle.encoder_frames(round(utterance.duration * bundle.frontend.sample_rate)) > 0


def _warn_of_short(long_enough: set[str], utterances: Sequence[Utterance]) -> None:
    if short := [utterance.id for utterance in utterances if utterance.id not in long_enough]:
        named = ", ".join(short[:NUM_SHOWN]) + ", ..." * (len(short) > NUM_SHOWN)
        are = counted(len(short), "utterance is", "utterances are")
        warnings.warn(f"{are} too short for the model and counted as not recognised: {named}", stacklevel=3)


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


def _effect(
    decoding: Decoding, normalizer: str, utterances: Sequence[Utterance], results: _Results
) -> HotwordEffect | None:
    if not decoding.hotwords:
        return None
    return hotword_effect(decoding.hotwords, normalizer, utterances, results.plain_texts, results.texts)
