"""From examples to a padded batch."""

from __future__ import annotations

from collections.abc import Sequence

from asr.lengths import pad_stack
from asr.types import Batch, Example


def collate(examples: Sequence[Example]) -> Batch:
    """Examples in the given order, padded with zeros to the longest; at least one example."""
    features, feature_lens = pad_stack([example.features for example in examples])
    tokens, token_lens = pad_stack([example.tokens for example in examples])
    return Batch(tuple(example.id for example in examples), features, feature_lens, tokens, token_lens)
