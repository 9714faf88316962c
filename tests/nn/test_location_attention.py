"""Location-aware attention."""

from __future__ import annotations

import torch

from asr.nn.location_attention import LocationAttention, uniform_weights


def test_weights_are_a_distribution_over_valid_frames_and_zero_without_any() -> None:
    attention = LocationAttention(query_dim=4, memory_dim=6, dim=5, num_filters=2, kernel_size=3)
    memory, lens = torch.randn(3, 9, 6), torch.tensor([9, 4, 0])
    previous = uniform_weights(lens, 9, torch.float32)
    torch.testing.assert_close(previous.sum(-1), torch.tensor([1.0, 1.0, 0.0]))
    context, weights = attention(torch.randn(3, 4), attention.keys(memory), memory, lens, previous)
    torch.testing.assert_close(weights.sum(-1), torch.tensor([1.0, 1.0, 0.0]))
    assert (weights[1, 4:] == 0).all()
    torch.testing.assert_close(context[1], weights[1, :4] @ memory[1, :4])
    assert (context[2] == 0).all()


def test_the_previous_look_moves_the_next() -> None:
    attention = LocationAttention(query_dim=4, memory_dim=6, dim=5, num_filters=2, kernel_size=3)
    memory, lens, query = torch.zeros(1, 9, 6), torch.tensor([9]), torch.randn(1, 4)
    previous = torch.nn.functional.one_hot(torch.tensor([3]), 9).float()
    _, weights = attention(query, attention.keys(memory), memory, lens, previous)
    far, near = weights[0, 6:], weights[0, 2:5]
    torch.testing.assert_close(far, far[:1].expand(3))
    assert (near - far[0]).abs().max() > 1e-4
