"""Decodes a whole corpus: the one loop behind validation, evaluation, transcription and tuning."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from asr.alignment.forced import align_texts
from asr.decoding.base import Searcher
from asr.models.asr_model import AsrModel
from asr.types import Batch, EncoderOutput, Hypothesis


@dataclass(frozen=True)
class Decoded:
    """An utterance with the best hypothesis placed in its audio."""

    id: str
    n_best: list[Hypothesis]
    ctc_log_probs: Tensor | None = None  # (S, V) on the CPU; None without a CTC head
    token_frames: np.ndarray | None = None  # (U, 2) of the best hypothesis; None without a head or if it cannot fit


def decode_corpus(
    model: AsrModel,
    searcher: Searcher,
    batches: Iterable[Batch],
    device: torch.device,
    dtype: torch.dtype = torch.float32,
) -> Iterator[tuple[str, list[Hypothesis]]]:
    """Yield (utterance id, n-best list) in the order of the batches.

    The model is put into evaluation mode and back into its former mode when the iterator ends or is closed. With
    another `dtype` than float32, encoder and search run under autocast to it.
    """
    with closing(_decode(model, searcher, batches, device, dtype, with_ctc=False)) as decoded:
        for batch, n_best, _, _ in decoded:
            yield from zip(batch.ids, n_best, strict=True)


def decode_aligned(
    model: AsrModel,
    searcher: Searcher,
    batches: Iterable[Batch],
    device: torch.device,
    dtype: torch.dtype = torch.float32,
) -> Iterator[Decoded]:
    """Like `decode_corpus`, and where the tokens of the best hypotheses are, whatever the search, by forced alignment.

    The encoder runs once.
    """
    with closing(_decode(model, searcher, batches, device, dtype, with_ctc=True)) as decoded:
        for batch, n_best, log_probs, lens in decoded:
            if log_probs is None:
                yield from (Decoded(id, hypotheses) for id, hypotheses in zip(batch.ids, n_best, strict=True))
                continue
            frames = align_texts(log_probs, lens, [hypotheses[0].tokens for hypotheses in n_best])
            for id, hypotheses, row, length, spans in zip(batch.ids, n_best, log_probs, lens, frames, strict=True):
                yield Decoded(id, hypotheses, row[:length], spans)


def _decode(
    model: AsrModel,
    searcher: Searcher,
    batches: Iterable[Batch],
    device: torch.device,
    dtype: torch.dtype,
    *,
    with_ctc: bool,
) -> Generator[tuple[Batch, list[list[Hypothesis]], Tensor | None, Tensor]]:
    """Each batch with its n-best lists, the CTC head's (B, S, V) if wanted and there is one, and the lengths (B,)."""
    with closing(encode_corpus(model, batches, device, dtype)) as corpus:
        for batch, encoded in corpus:
            with _inference(device, dtype):
                n_best = searcher.search(encoded)
                wanted = with_ctc and model.ctc_head is not None
                log_probs = model.ctc_log_probs(encoded).cpu() if wanted else None
            yield batch, n_best, log_probs, encoded.lens.cpu()


def encode_corpus(
    model: AsrModel, batches: Iterable[Batch], device: torch.device, dtype: torch.dtype = torch.float32
) -> Generator[tuple[Batch, EncoderOutput]]:
    """Yield each batch with what the encoder makes of it, on the device; the model's mode is as in `decode_corpus`."""
    was_training = model.training
    model.train(False)
    try:
        for batch in batches:
            with _inference(device, dtype):
                moved = batch.to(device)
                encoded = model.encode(moved.features, moved.feature_lens)
            yield batch, encoded
    finally:
        model.train(was_training)


@contextmanager
def _inference(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Entered for each batch: a mode left open across a yield would govern the caller's code too."""
    with torch.inference_mode(), torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32):
        yield
