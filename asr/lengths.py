"""The only place where lengths become masks and where sequences become padded tensors."""

from __future__ import annotations

import operator
from collections.abc import Sequence

import torch
from torch import Tensor


def padding_mask(lens: Tensor, max_len: int) -> Tensor:
    """Bool (B, max_len), True where padding stands, from int64 lengths (B,)."""
    return torch.arange(max_len, device=lens.device)[None, :] >= lens[:, None]


def pad_stack(sequences: Sequence[Tensor], value: float = 0.0) -> tuple[Tensor, Tensor]:
    """Stack sequences of shape (N_i, ...) into (B, max N_i, ...) filled up with `value`, and their lengths (B,)."""
    lens = torch.tensor([len(sequence) for sequence in sequences], dtype=torch.int64)
    return torch.nn.utils.rnn.pad_sequence(list(sequences), batch_first=True, padding_value=value), lens


def ctc_min_frames(tokens: Sequence[int]) -> int:
    """Fewest encoder frames CTC needs: one a token, and a blank between two equal neighbours."""
    repeats: int = sum(map(operator.eq, tokens, tokens[1:]))
    return len(tokens) + repeats
