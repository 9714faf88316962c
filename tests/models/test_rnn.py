"""The recurrent encoder against torch's packed sequences."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from asr.models.encoders.rnn import CELLS, RnnConfig, RnnLayer, reorder_frames, reversal_index


def test_reversal_turns_valid_frames_round_and_leaves_padding() -> None:
    frames = torch.arange(8).view(2, 4, 1)
    index = reversal_index(torch.tensor([3, 0]), 4)
    assert reorder_frames(frames, index).flatten(1).tolist() == [[2, 1, 0, 3], [4, 5, 6, 7]]


@pytest.mark.parametrize("cell", sorted(CELLS))
def test_both_directions_equal_torch_on_packed_sequences(cell: str) -> None:
    torch.manual_seed(0)
    layer = RnnLayer(RnnConfig(cell=cell, dim=4, dropout=0.0), input_dim=3).double()
    layer.norm = nn.Identity()
    reference = CELLS[cell](3, 4, batch_first=True, bidirectional=True).double()
    for name, parameter in layer.forward_direction.named_parameters():
        getattr(reference, name).data.copy_(parameter)
    for name, parameter in layer.backward_direction.named_parameters():
        getattr(reference, f"{name}_reverse").data.copy_(parameter)
    x, lens = torch.randn(3, 9, 3, dtype=torch.float64), torch.tensor([9, 5, 1])
    packed, _ = reference(pack_padded_sequence(x, lens, batch_first=True))
    expected, _ = pad_packed_sequence(packed, batch_first=True)
    output = layer(x, reversal_index(lens, 9))
    for row, length in enumerate(lens):
        torch.testing.assert_close(output[row, :length], expected[row, :length], rtol=1e-9, atol=1e-9)
