"""From examples to a padded batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from asr.lengths import pad_stack
from asr.types import Batch, Example

# Few different shapes: kernels are compiled, and kept, for each. That made a CPU step a third slower, and a joint model
# of 5 M parameters take 5 GB.
FRAME_MULTIPLE = 32
TOKEN_MULTIPLE = 8  # of the decoder's positions, one more than tokens


def collate(examples: Sequence[Example]) -> Batch:
    """Examples in the given order, padded with zeros to the longest, rounded up; without any, a batch of no rows."""
    if not examples:
        return Batch((), torch.zeros(0, 0, 0), torch.zeros(0, dtype=torch.int64), *pad_tokens([]))
    features, feature_lens = pad_stack([example.features for example in examples])
    features = F.pad(features, (0, 0, 0, -features.shape[1] % FRAME_MULTIPLE))
    tokens, token_lens = pad_tokens([example.tokens for example in examples])
    return Batch(tuple(example.id for example in examples), features, feature_lens, tokens, token_lens)


def pad_tokens(sequences: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Token sequences (U_i,) as tokens (B, U), padded with zeros to the longest, rounded up, and lengths (B,)."""
    if not sequences:
        return torch.zeros(0, 0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64)
    tokens, token_lens = pad_stack(sequences)
    return F.pad(tokens, (0, -(tokens.shape[1] + 1) % TOKEN_MULTIPLE)), token_lens
