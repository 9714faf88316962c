"""From audio or features to decoded text: the one way that transcription, evaluation, tuning and validation share.

    decode_waveforms   waveforms, options per row -> front-end, encoder (once) -> decode_encoded -> words in seconds
    decode_encoded     encoder output, options per row -> search, alignment -> Decoded
    asr.bundle.corpus  batches of features that a data loader made -> encoder -> decode_encoded

Both entries share everything from the encoder's output on. Features alone do not say how loud the audio is, so their
words are in encoder frames; `PlacedWords.timed` makes seconds of them as soon as somebody has the samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from asr.alignment.confidence import Measure, posterior
from asr.alignment.forced import align_texts
from asr.bundle.words import PlacedWords, place_words
from asr.decoding.base import Searcher, ctc_of
from asr.features import Frontend
from asr.lengths import pad_stack
from asr.models.asr_model import AsrModel
from asr.text.tokenizer import Tokenizer
from asr.types import EncoderOutput, Hypothesis, Word

SHAPE_SECONDS = 0.64  # batches are as long as a multiple of it: kernels are compiled for each shape, and kept


class SpeechModel(Protocol):
    """What decoding uses of a bundle."""

    @property
    def frontend(self) -> Frontend: ...

    @property
    def tokenizer(self) -> Tokenizer: ...

    @property
    def model(self) -> AsrModel: ...

    @property
    def frame_seconds(self) -> float: ...

    def encoder_frames(self, num_samples: int) -> int: ...


@dataclass(frozen=True)
class DecodeOptions:
    """How one utterance of a batch is decoded. Rows with the same `searcher` are searched together."""

    searcher: Searcher
    measure: Measure = posterior  # of confidence
    drop_loops: bool = False  # `PlacedWords.without_loops`


@dataclass(frozen=True)
class Decoded:
    """What an utterance says."""

    n_best: list[Hypothesis]  # best first
    placed: PlacedWords  # the words of the best one in encoder frames
    words: tuple[Word, ...] = ()  # the same in seconds; () where no head can align, or from features alone

    @property
    def text(self) -> str:
        """The words joined by single spaces."""
        return self.placed.text


NOTHING = Decoded([Hypothesis((), 0.0)], PlacedWords(()))  # of audio too short for the model


def decode_waveforms(
    bundle: SpeechModel,
    waveforms: Sequence[np.ndarray],
    options: Sequence[DecodeOptions],
    dtype: torch.dtype = torch.float32,
) -> list[Decoded]:
    """Decode waveforms (num_samples,) float32 at the front-end's rate, one row each, in one batch.

    A row's answer does not depend on the others. One too short for the model has no text. With another `dtype` than
    float32, encoder and search run under autocast to it.
    """
    decoded = [NOTHING] * len(waveforms)
    rows = [row for row, waveform in enumerate(waveforms) if bundle.encoder_frames(len(waveform)) > 0]
    if not rows:
        return decoded
    encoded = _encode(bundle, [waveforms[row] for row in rows], dtype)
    results = decode_encoded(bundle, encoded, [options[row] for row in rows], dtype)
    for row, result in zip(rows, results, strict=True):
        words = result.placed.timed(waveforms[row], bundle.frontend.sample_rate, bundle.frame_seconds)
        decoded[row] = replace(result, words=words)
    return decoded


def _encode(bundle: SpeechModel, waveforms: Sequence[np.ndarray], dtype: torch.dtype) -> EncoderOutput:
    """Front-end and encoder over waveforms, on the model's device."""
    padded, lens = pad_stack([torch.from_numpy(waveform) for waveform in waveforms])
    step = round(SHAPE_SECONDS * bundle.frontend.sample_rate)
    padded = F.pad(padded, (0, -padded.shape[1] % step))
    device = device_of(bundle.model)
    with inference(device, dtype):
        features, feature_lens = bundle.frontend(padded.to(device), lens.to(device))
        return bundle.model.encode(features, feature_lens)


def decode_encoded(
    bundle: SpeechModel,
    encoded: EncoderOutput,
    options: Sequence[DecodeOptions],
    dtype: torch.dtype = torch.float32,
) -> list[Decoded]:
    """Search the encoder's output, one row of `options` each, and place the best hypotheses in it."""
    n_best = search_encoded(encoded, options, dtype)
    log_probs, frames = _align(bundle, encoded, [hypotheses[0].tokens for hypotheses in n_best], dtype)
    decoded = []
    for row, (hypotheses, chosen) in enumerate(zip(n_best, options, strict=True)):
        own = None if log_probs is None else log_probs[row]
        placed = place_words(bundle.tokenizer, hypotheses[0].tokens, frames[row], own, chosen.measure)
        decoded.append(Decoded(hypotheses, placed.without_loops() if chosen.drop_loops else placed))
    return decoded


def search_encoded(
    encoded: EncoderOutput, options: Sequence[DecodeOptions], dtype: torch.dtype = torch.float32
) -> list[list[Hypothesis]]:
    """An n-best list for every row; rows that share a searcher are searched in one batch."""
    groups: dict[int, list[int]] = {}
    for row, chosen in enumerate(options):
        groups.setdefault(id(chosen.searcher), []).append(row)
    n_best: list[list[Hypothesis]] = [[] for _ in options]
    with inference(encoded.frames.device, dtype):
        for rows in groups.values():
            part = encoded if len(groups) == 1 else _select(encoded, rows)
            for row, hypotheses in zip(rows, options[rows[0]].searcher.search(part), strict=True):
                n_best[row] = hypotheses
    return n_best


def _select(encoded: EncoderOutput, rows: Sequence[int]) -> EncoderOutput:
    """Some rows, as long as the longest of them."""
    index = torch.tensor(rows, device=encoded.lens.device)
    lens = encoded.lens[index]
    longest = int(lens.max())
    intermediate = tuple(log_probs[index, :longest] for log_probs in encoded.intermediate)
    return EncoderOutput(encoded.frames[index, :longest], lens, intermediate)


def _align(
    bundle: SpeechModel, encoded: EncoderOutput, texts: Sequence[tuple[int, ...]], dtype: torch.dtype
) -> tuple[list[Tensor] | None, Sequence[np.ndarray | None]]:
    """Ask the model where the tokens of one text per row are, whatever the search.

    Gives log-probabilities (S, V) on the CPU and frames (U, 2), those None where a text does not fit; None for all
    log-probabilities and frames where no head of the model can align.
    """
    ctc = ctc_of(bundle.model.heads)
    if ctc is None:
        return None, [None] * len(texts)
    with inference(encoded.frames.device, dtype):
        log_probs = ctc.log_probs(encoded).cpu()
    lens = encoded.lens.cpu()
    frames = align_texts(log_probs, lens, texts, ctc.vocabulary)
    return [row[:length] for row, length in zip(log_probs, lens, strict=True)], frames


def device_of(model: AsrModel) -> torch.device:
    """Where a model computes."""
    return next(model.parameters()).device


@contextmanager
def inference(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Without gradients and, for another `dtype` than float32, under autocast to it.

    Entered for each batch: a mode left open across a yield would govern the caller's code too.
    """
    with torch.inference_mode(), torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32):
        yield
