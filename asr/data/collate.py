"""From examples to a padded batch."""

from __future__ import annotations

from collections.abc import Sequence

from torch.nn import functional as F

from asr.lengths import pad_stack
from asr.types import Batch, Example

FRAME_MULTIPLE = 32  # few different shapes: kernels are compiled for each, which made a CPU step a third slower


def collate(examples: Sequence[Example]) -> Batch:
    """Examples (one at least) in the given order, padded with zeros to the longest, rounded up to FRAME_MULTIPLE."""
    features, feature_lens = pad_stack([example.features for example in examples])
    features = F.pad(features, (0, 0, 0, -features.shape[1] % FRAME_MULTIPLE))
    tokens, token_lens = pad_stack([example.tokens for example in examples])
    return Batch(tuple(example.id for example in examples), features, feature_lens, tokens, token_lens)
