"""Examples become padded tensors with their lengths."""

from __future__ import annotations

import torch

from asr.data.collate import FRAME_MULTIPLE, TOKEN_MULTIPLE, collate
from asr.types import Example


def test_examples_are_padded_to_the_longest_and_keep_their_order():
    examples = [
        Example("b", torch.ones(2, 3), torch.tensor([5, 6, 7])),
        Example("a", torch.full((4, 3), 2.0), torch.tensor([], dtype=torch.int64)),
    ]
    batch = collate(examples)
    assert batch.ids == ("b", "a")
    assert batch.features.shape == (2, FRAME_MULTIPLE, 3)
    assert batch.features[:, :4].tolist() == [[[1.0] * 3] * 2 + [[0.0] * 3] * 2, [[2.0] * 3] * 4]
    assert not batch.features[:, 4:].any()
    assert batch.feature_lens.tolist() == [2, 4]
    assert (batch.tokens.shape[1] + 1) % TOKEN_MULTIPLE == 0
    assert batch.tokens[:, :3].tolist() == [[5, 6, 7], [0, 0, 0]]
    assert not batch.tokens[:, 3:].any()
    assert batch.token_lens.tolist() == [3, 0]
    assert {batch.tokens.dtype, batch.token_lens.dtype, batch.feature_lens.dtype} == {torch.int64}
