"""Decodes a whole corpus of features: the loop behind validation, evaluation and tuning.

A data loader makes the features, in processes of its own if need be; see `asr.bundle.recognition` for audio.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing

import torch

from asr.bundle.backends.torch import inference
from asr.decoding.base import Searcher
from asr.models.asr_model import AsrModel
from asr.types import Batch, EncoderOutput, Hypothesis


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
    with closing(encode_corpus(model, batches, device, dtype)) as corpus:
        for batch, encoded in corpus:
            with inference(device, dtype):
                n_best = searcher.search(encoded)
            yield from zip(batch.ids, n_best, strict=True)


def encode_corpus(
    model: AsrModel, batches: Iterable[Batch], device: torch.device, dtype: torch.dtype = torch.float32
) -> Generator[tuple[Batch, EncoderOutput]]:
    """Yield each batch with what the encoder makes of it, on the device; the model's mode is as in `decode_corpus`."""
    was_training = model.training
    model.train(False)
    try:
        for batch in batches:
            with inference(device, dtype):
                moved = batch.to(device)
                encoded = model.encode(moved.features, moved.feature_lens)
            yield batch, encoded
    finally:
        model.train(was_training)
