"""Every encoder exports with torch.export, for any batch and any length."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor, nn
from torch.export import Dim, export
from torch.utils import _pytree as pytree

from asr.models.encoders import ENCODERS, Encoder, EncoderConfig

NUM_FEATURES = 9
ENCODER_SETTINGS: dict[str, dict[str, object]] = {name: {} for name in ENCODERS.names()} | {
    "transformer relative": {"positions": "relative"},
    "rnn gru one way": {"cell": "gru", "bidirectional": False},
}
OUR_OPERATIONS = {"asr.recur.default"}  # torch has no recurrence that exports for any length


class Encode(nn.Module):
    """An encoder whose output is a tuple."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, features: Tensor, lens: Tensor) -> tuple[Tensor, Tensor]:
        encoded = self.encoder(features, lens)
        return encoded.frames, encoded.lens


def exported(module: nn.Module, *inputs: Any) -> nn.Module:
    """A module's graph, whose sizes are open but where the weights prescribe them; other runtimes must know it all."""
    program = export(module, inputs, dynamic_shapes=pytree.tree_map(open_sizes, inputs))
    namespaces = {str(node.target): getattr(node.target, "namespace", None) for node in program.graph.nodes}
    assert "aten" in namespaces.values()
    assert {name for name, namespace in namespaces.items() if namespace not in (None, "aten")} <= OUR_OPERATIONS
    return program.module()


def open_sizes(leaf: Any) -> Any:
    """What export is to know of the sizes of an input: nothing."""
    return dict.fromkeys(range(leaf.dim()), Dim.AUTO) if isinstance(leaf, Tensor) else Dim.AUTO


def batch_of(*lens: int) -> tuple[Tensor, Tensor]:
    """Features and their lengths."""
    torch.manual_seed(sum(lens))
    return torch.randn(len(lens), max(lens), NUM_FEATURES, dtype=torch.float64), torch.tensor(lens)


def assert_exports(module: nn.Module) -> None:
    """Whatever the batch the graph gives the frames of the module itself; both take features and lengths."""
    graph = exported(module, *batch_of(61, 40, 7))
    for features, lens in (batch_of(30, 30), batch_of(133, 9, 0, 1, 80), batch_of(50)):
        (frames, frame_lens), (expected, expected_lens) = graph(features, lens), module(features, lens)
        assert torch.equal(frame_lens, expected_lens)
        for row, length in enumerate(expected_lens):
            torch.testing.assert_close(frames[row, :length], expected[row, :length], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ENCODER_SETTINGS)
@torch.no_grad()
def test_an_encoder_exports(name: str) -> None:
    settings = ENCODERS.config(name.split()[0]).tiny().model_dump() | ENCODER_SETTINGS[name]
    config = TypeAdapter(EncoderConfig).validate_python(settings)
    assert_exports(Encode(ENCODERS.part(config.name)(config, NUM_FEATURES)).double().eval())
