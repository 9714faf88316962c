"""Attention against its textbook formula, written out with loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from asr.nn.attention import CrossAttention, RelativeAttention, RotaryAttention, SelfAttention
from asr.nn.kernels import rotate
from asr.nn.positions import RelativePositions, RotaryPositions, sinusoids

DIM, HEADS = 8, 2


def frames(batch: int = 2, length: int = 6) -> Tensor:
    torch.manual_seed(1)
    return torch.randn(batch, length, DIM, dtype=torch.float64)


def test_rotary_scores_depend_on_distance_alone() -> None:
    query, key = torch.randn(2, 1, 1, 1, DIM, dtype=torch.float64).expand(2, 1, 1, 30, DIM)
    table = RotaryPositions(DIM)(torch.zeros(1, 30, 1, dtype=torch.float64))
    scores = rotate(query, table) @ rotate(key, table).transpose(-1, -2)
    for offset in (-7, 0, 12):
        diagonal = scores[0, 0].diagonal(offset)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), rtol=1e-9, atol=1e-9)
    assert scores[0, 0, 0].std() > 1e-3, "every distance scored the same"


def test_rotary_attention_turns_queries_and_keys_only() -> None:
    attention = RotaryAttention(DIM, HEADS, 0.0, 0.0).double()
    x = frames()
    query, key, value = attention.project(x)
    table = RotaryPositions(DIM // HEADS)(x)
    expected = attention.finish(F.scaled_dot_product_attention(rotate(query, table), rotate(key, table), value))
    torch.testing.assert_close(attention(x, None, table), expected)


def test_relative_attention_equals_transformer_xl_formula() -> None:
    attention = RelativeAttention(DIM, HEADS, 0.0, 0.0).double()
    torch.nn.init.normal_(attention.content_bias)
    torch.nn.init.normal_(attention.position_bias)
    x = frames()
    query, key, value = attention.project(x)
    contexts = torch.zeros_like(query)
    for b in range(2):
        for h in range(HEADS):
            scores = torch.zeros(6, 6, dtype=torch.float64)
            for i in range(6):
                for j in range(6):
                    sinusoid = sinusoids(torch.tensor([float(i - j)], dtype=torch.float64), DIM)[0]
                    distance = attention.position(sinusoid).view(HEADS, -1)[h]
                    scores[i, j] = (query[b, h, i] + attention.content_bias[h, 0]) @ key[b, h, j]
                    scores[i, j] += (query[b, h, i] + attention.position_bias[h, 0]) @ distance
            contexts[b, h] = (scores / math.sqrt(DIM // HEADS)).softmax(-1) @ value[b, h]
    torch.testing.assert_close(attention(x, None, RelativePositions(DIM)(x)), attention.finish(contexts))


@pytest.mark.parametrize("length", [1, 2, 7])
def test_relative_attention_covers_every_length(length: int) -> None:
    x = frames(length=length)
    assert RelativePositions(DIM)(x).shape == (2 * length - 1, DIM)
    attention = RelativeAttention(DIM, HEADS, 0.0, 0.0).double()
    assert attention(x, None, RelativePositions(DIM)(x)).shape == x.shape


def test_a_causal_mask_hides_the_future() -> None:
    attention = SelfAttention(DIM, HEADS, 0.0, 0.0).double()
    x = frames()
    causal = torch.ones(6, 6, dtype=torch.bool).tril()
    changed = x.clone()
    changed[:, 4:] = torch.randn(2, 2, DIM, dtype=torch.float64)
    before, after = attention(x, causal), attention(changed, causal)
    torch.testing.assert_close(before[:, :4], after[:, :4])
    assert (before[:, 4:] - after[:, 4:]).abs().min() > 0


def test_cross_attention_to_no_frames_adds_only_the_output_bias() -> None:
    attention = CrossAttention(DIM, 5, HEADS, 0.0, 0.0).double()
    memory = torch.randn(2, 4, 5, dtype=torch.float64)
    branch = attention(frames(), *attention.memory(memory), torch.tensor([4, 0]))
    torch.testing.assert_close(branch[1], attention.out.bias.expand(6, DIM))
    assert (branch[0] - attention.out.bias).abs().min() > 0


@pytest.mark.parametrize("kind", [SelfAttention, RotaryAttention])
def test_frame_by_frame_equals_all_at_once_under_a_causal_mask(kind: type[SelfAttention]) -> None:
    x = frames()
    attention = kind(DIM, HEADS, 0.0, 0.0).double().eval()
    positions = RotaryPositions(DIM // HEADS)
    rotary = kind is RotaryAttention
    expected = attention(x, torch.ones(6, 6, dtype=torch.bool).tril(), positions(x) if rotary else None)
    nothing = x.new_zeros(2, HEADS, 0, DIM // HEADS)
    past = (nothing, nothing)
    for frame in range(6):
        table = positions.at(torch.tensor([frame], dtype=x.dtype)) if rotary else None
        branch, past = attention.step(x[:, frame : frame + 1], past, None, table)
        torch.testing.assert_close(branch[:, 0], expected[:, frame], rtol=1e-9, atol=1e-9)


def test_relative_attention_refuses_to_go_frame_by_frame() -> None:
    nothing = torch.zeros(1, HEADS, 0, DIM // HEADS)
    with pytest.raises(AssertionError, match="distances"):
        RelativeAttention(DIM, HEADS, 0.0, 0.0).step(torch.zeros(1, 1, DIM), (nothing, nothing))
