"""Decodes a whole corpus: the one loop behind validation, evaluation and tuning."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch

from asr.decoding.base import Searcher, SearchModel
from asr.types import Batch, Hypothesis


def decode_corpus(
    model: SearchModel,
    searcher: Searcher,
    batches: Iterable[Batch],
    device: torch.device,
    dtype: torch.dtype = torch.float32,
) -> Iterator[tuple[str, list[Hypothesis]]]:
    """Yield (utterance id, n-best list) in the order of the batches.

    The model is put into evaluation mode and back into its former mode when the iterator ends or is closed. With
    another `dtype` than float32, encoder and search run under autocast to it.
    """
    was_training = model.training
    model.train(False)
    try:
        for batch in batches:
            # Entered for each batch: a mode left open across a yield would govern the caller's code too.
            with torch.inference_mode(), torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32):
                moved = batch.to(device)
                n_best = searcher.search(model.encode(moved.features, moved.feature_lens))
            yield from zip(batch.ids, n_best, strict=True)
    finally:
        model.train(was_training)
