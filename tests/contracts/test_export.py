"""Every encoder, the CTC head and one step of every decoder export with torch.export, for any batch and any length."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor, nn
from torch.export import Dim, export
from torch.utils import _pytree as pytree

from asr.models.asr_model import AsrModel
from asr.models.encoders import ENCODERS, Encoder, EncoderConfig
from asr.models.heads import HEADS
from asr.models.heads.ctc import CtcHead, CtcHeadConfig, IntermediateCtcConfig
from asr.models.heads.decoder import AnyDecoder, Decoder
from asr.types import EncoderOutput
from tests.tiny_models import SOS, tiny_model, vocabulary_of

NUM_FEATURES, VOCAB_SIZE, ENCODER_DIM = 9, 11, 10
ENCODER_SETTINGS: dict[str, dict[str, object]] = {name: {} for name in ENCODERS.names()} | {
    "transformer relative": {"positions": "relative"},
    "wav2vec2 layer norms": {"conv_norm": "layer", "conv_bias": True, "pre_norm": True},
    "rnn gru one way": {"cell": "gru", "bidirectional": False},
}
DECODERS = [name for name in HEADS.names() if issubclass(HEADS.part(name), Decoder)]
OUR_OPERATIONS = {"asr.recur.default"}  # torch has no recurrence that exports for any length


class Encode(nn.Module):
    """An encoder whose output is a tuple."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, features: Tensor, lens: Tensor) -> tuple[Tensor, Tensor]:
        encoded = self.encoder(features, lens)
        return encoded.frames, encoded.lens


class CtcLogProbs(nn.Module):
    """A model's way from features to log-probabilities of CTC."""

    def __init__(self, model: AsrModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: Tensor, lens: Tensor) -> tuple[Tensor, Tensor]:
        encoded = self.model.encode(features, lens)
        head = self.model.heads["ctc"]
        assert isinstance(head, CtcHead)
        return head.log_probs(encoded), encoded.lens


class Step(nn.Module):
    """One step of a decoder from the tensors and numbers of its state, in order, to those of the next state."""

    def __init__(self, decoder: AnyDecoder, state: Any) -> None:
        super().__init__()
        self.decoder = decoder
        self.state = state

    def forward(self, tokens: Tensor, leaves: tuple[Any, ...]) -> tuple[Tensor, tuple[Any, ...]]:
        log_probs, state = self.decoder.step(tokens, rebuilt(self.state, iter(leaves)))
        return log_probs, leaves_of(state)


def leaves_of(state: Any) -> tuple[Any, ...]:
    """The tensors and numbers of nested dataclasses and tuples."""
    if isinstance(state, Tensor | int | torch.SymInt):
        return (state,)
    parts = state if isinstance(state, tuple) else [getattr(state, field.name) for field in dataclasses.fields(state)]
    return tuple(leaf for part in parts for leaf in leaves_of(part))


def rebuilt(state: Any, leaves: Iterator[Any]) -> Any:
    """The same nest with other leaves."""
    if isinstance(state, Tensor | int):
        return next(leaves)
    if isinstance(state, tuple):
        return tuple(rebuilt(part, leaves) for part in state)
    parts = {field.name: rebuilt(getattr(state, field.name), leaves) for field in dataclasses.fields(state)}
    return dataclasses.replace(state, **parts)


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


@torch.no_grad()
def test_a_ctc_head_exports_with_ctc_between_the_layers() -> None:
    head = CtcHeadConfig(intermediate=IntermediateCtcConfig(layers=(1,)))
    model = tiny_model(head, num_features=NUM_FEATURES, vocab_size=VOCAB_SIZE, encoder="rnn")
    assert_exports(CtcLogProbs(model).double().eval())


def state_of(decoder: AnyDecoder, rows: dict[int, int], num_tokens: int) -> Any:
    """A search's state after some tokens; `rows` says for each utterance, by its frames, how many rows it has."""
    lens, counts = torch.tensor(list(rows)), torch.tensor(list(rows.values()))
    frames = torch.randn(len(lens), max(rows), ENCODER_DIM, dtype=torch.float64)
    state = decoder.reorder(
        decoder.init_state(EncoderOutput(frames, lens)), torch.arange(len(lens)).repeat_interleave(counts)
    )
    for _ in range(num_tokens):
        _, state = decoder.step(torch.full((sum(rows.values()),), SOS), state)
    return state


@pytest.mark.parametrize("name", DECODERS)
@torch.no_grad()
def test_a_step_of_a_decoder_exports(name: str) -> None:
    torch.manual_seed(0)
    decoder = HEADS.part(name)(HEADS.config(name).tiny(), ENCODER_DIM, vocabulary_of(VOCAB_SIZE)).double().eval()
    rows = {13: 2, 7: 1, 1: 2}
    state = state_of(decoder, rows, num_tokens=2)
    graph = exported(Step(decoder, state), torch.full((5,), SOS), leaves_of(state))
    for rows, num_tokens in (({17: 1, 6: 3, 0: 1, 9: 2}, 4), ({4: 2}, 0)):
        state, tokens = state_of(decoder, rows, num_tokens), torch.randint(4, VOCAB_SIZE, (sum(rows.values()),))
        log_probs, leaves = graph(tokens, leaves_of(state))
        expected, following = decoder.step(tokens, state)
        torch.testing.assert_close(log_probs, expected, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(leaves, leaves_of(following), rtol=1e-9, atol=1e-9)
