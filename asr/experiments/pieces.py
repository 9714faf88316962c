"""Cuts utterances at pauses between words, for `splice`: forced alignment tells between which words a pause lies."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch

from asr.alignment.forced import align_texts
from asr.audio.io import load_audio
from asr.bundle.bundle import Bundle
from asr.decoding.base import ctc_of
from asr.errors import ConfigError
from asr.experiments.prepare import evaluation_loader
from asr.text.normalize import normalize
from asr.types import Batch, Utterance

WINDOW = 0.02  # seconds; loudness is measured in windows of this length


def cut(
    bundle: Bundle,
    utterances: Sequence[Utterance],
    *,
    pause_db: float = 20.0,
    on_progress: Callable[[int], None] = lambda done: None,
) -> list[Utterance]:
    """The pieces of all utterances in their order, each with its words; what cannot be aligned is left out.

    Words are found by forced alignment with the model's CTC output, so ConfigError if it has none. A piece ends in the
    quietest moment between two words if that is a pause: at least `pause_db` below the loud parts of the utterance.
    Hence pieces hold one word or more.
    """
    if ctc_of(bundle.model.heads) is None:
        raise ConfigError("cutting needs a model with a CTC head; this one has none")
    config = bundle.spec
    by_id = {utterance.id: utterance for utterance in utterances}
    pieces: dict[str, list[Utterance]] = {}
    bundle.model.train(False)
    for batch in evaluation_loader(config, utterances, bundle, num_workers=0).epoch(0):
        for id, spans in zip(batch.ids, _token_seconds(bundle, batch), strict=True):
            pieces[id] = list(_pieces(bundle, by_id[id], spans, pause_db)) if spans is not None else []
        on_progress(len(pieces))
    return [piece for utterance in utterances for piece in pieces[utterance.id]]


def _token_seconds(bundle: Bundle, batch: Batch) -> list[np.ndarray | None]:
    """Start and end of every token, (U, 2) seconds, of every utterance; None where the text does not fit the audio."""
    with torch.inference_mode():
        encoded = bundle.model.encode(batch.features, batch.feature_lens)
        ctc = ctc_of(bundle.model.heads)
        assert ctc is not None
        texts = [row[:length].tolist() for row, length in zip(batch.tokens, batch.token_lens, strict=True)]
        frames = align_texts(ctc.log_probs(encoded), encoded.lens, texts, ctc.vocabulary)
    return [spans * bundle.frame_seconds if spans is not None else None for spans in frames]


def _pieces(bundle: Bundle, utterance: Utterance, token_seconds: np.ndarray, pause_db: float) -> Iterator[Utterance]:
    text = normalize(utterance.text, bundle.spec.normalize)
    words = bundle.tokenizer.written_words(text)
    sample_rate = bundle.frontend.sample_rate
    waveform = load_audio(utterance.audio, sample_rate, start=utterance.start, duration=utterance.duration)
    loudness = _loudness(waveform, round(WINDOW * sample_rate))
    pause = np.percentile(loudness, 95) - pause_db if len(loudness) else 0.0
    cuts = [(0.0, 0)]
    for index, (left, right) in enumerate(itertools.pairwise(words), start=1):
        between = slice(round(token_seconds[left.stop - 1, 1] / WINDOW), round(token_seconds[right.start, 0] / WINDOW))
        if len(loudness[between]) and loudness[between].min() < pause:
            cuts.append(((between.start + int(loudness[between].argmin()) + 0.5) * WINDOW, index))
    cuts.append((utterance.duration, len(words)))
    for number, ((start, first), (end, last)) in enumerate(itertools.pairwise(cuts)):
        yield replace(
            utterance,
            id=f"{utterance.id}.{number}",
            start=utterance.start + start,
            duration=end - start,
            text=" ".join(word.text for word in words[first:last]),
        )


def _loudness(waveform: np.ndarray, window: int) -> np.ndarray:
    """Mean power in dB of consecutive windows; -100 for digital silence."""
    windows = waveform[: len(waveform) // window * window].reshape(-1, window)
    power: np.ndarray = np.square(windows, dtype=np.float64).mean(1)
    return np.asarray(10 * np.log10(power + 1e-10))
