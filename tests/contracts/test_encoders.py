"""What every registered encoder promises, in float64 so that a leak shows and rounding does not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pydantic import TypeAdapter
from safetensors.torch import load_file, save_file
from torch import Tensor

from asr.models.encoders import ENCODERS, Encoder, EncoderConfig
from asr.registry import NamedConfig
from asr.types import EncoderOutput

NUM_FEATURES = 9


def variant(name: str, **changes: object) -> NamedConfig:
    """A registered encoder's tiny config with some values changed, validated again."""
    return TypeAdapter(EncoderConfig).validate_python(ENCODERS.config(name).tiny().model_dump() | changes)


CONFIGS = {name: variant(name) for name in ENCODERS.names()} | {
    "conformer relative": variant("conformer", positions="relative"),
    "conformer x1": variant("conformer", subsampling={"factor": 1}),
    "conformer x2": variant("conformer", subsampling={"factor": 2, "channels": 3}),
    "conformer x8": variant("conformer", subsampling={"factor": 8, "channels": 3}),
    "conformer stochastic depth": variant("conformer", stochastic_depth=0.5, attention_dropout=0.1),
    "transformer relative": variant("transformer", positions="relative"),
    "rnn without projection": variant("rnn", projection=None),
    "gru": variant("rnn", cell="gru"),
    "plain rnn": variant("rnn", cell="rnn"),
    "unidirectional lstm": variant("rnn", bidirectional=False),
    "wav2vec2 layer norms": variant(
        "wav2vec2", conv_norm="layer", conv_bias=True, pre_norm=True, projection_norm=False
    ),
    "wav2vec2 odd positions": variant("wav2vec2", position_kernel=3),
}
RECEPTIVE_FIELDS = {"wav2vec2": 9}  # features that a frame needs, of encoders that do not pad
each_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())


def build(config: NamedConfig) -> Encoder:
    torch.manual_seed(3)
    return ENCODERS.part(config.name)(config, NUM_FEATURES).double().eval()


def noisy_batch() -> tuple[Tensor, Tensor]:
    """Features whose padding is as loud as speech, one row full, one a single frame, one empty."""
    torch.manual_seed(4)
    return torch.randn(5, 61, NUM_FEATURES, dtype=torch.float64) * 3, torch.tensor([61, 40, 23, 1, 0])


def assert_same_row(batched: EncoderOutput, row: int, alone: EncoderOutput, other_row: int = 0) -> None:
    length = int(batched.lens[row])
    assert alone.lens[other_row] == length
    torch.testing.assert_close(batched.frames[row, :length], alone.frames[other_row, :length], rtol=1e-9, atol=1e-9)


@each_config
@torch.no_grad()
def test_an_utterance_encodes_the_same_alone_and_among_noise(config: NamedConfig) -> None:
    encoder = build(config)
    features, lens = noisy_batch()
    batched = encoder(features, lens)
    for row, length in enumerate(lens):
        alone = encoder(features[row : row + 1, :length], lens[row : row + 1])
        assert_same_row(batched, row, alone)


@each_config
@torch.no_grad()
def test_a_tap_sees_the_frames_after_each_layer_and_what_it_returns_goes_on(config: NamedConfig) -> None:
    encoder = build(config)
    features, lens = noisy_batch()
    untapped = encoder(features, lens)
    seen: list[Tensor] = []

    def watch(index: int, frames: Tensor) -> Tensor:
        assert index == len(seen) + 1
        assert frames.shape[:2] == untapped.frames.shape[:2]
        seen.append(frames)
        return frames

    assert torch.equal(encoder(features, lens, watch).frames, untapped.frames)
    assert len(seen) == encoder.num_layers
    changed = encoder(features, lens, lambda index, frames: frames.flip(-1) if index == 1 else frames)
    assert (changed.frames - untapped.frames)[0].abs().max() > 1e-3


@each_config
@torch.no_grad()
def test_the_order_of_a_batch_does_not_matter(config: NamedConfig) -> None:
    encoder = build(config)
    features, lens = noisy_batch()
    order = torch.tensor([2, 4, 0, 3, 1])
    straight, permuted = encoder(features, lens), encoder(features[order], lens[order])
    for row, source in enumerate(order.tolist()):
        assert_same_row(straight, source, permuted, row)


@each_config
@torch.no_grad()
def test_output_lens_tells_the_frames_of_every_length(config: NamedConfig) -> None:
    encoder = build(config)
    sees = RECEPTIVE_FIELDS.get(config.name, 1)  # fewer features make no frame
    assert encoder.output_lens(torch.tensor([0, sees - 1, sees])).tolist() == [0, 0, 1]
    for length in (*range(1, 50), *range(sees, sees + 10), 127, 128, 200):
        encoded = encoder(torch.zeros(1, length, NUM_FEATURES, dtype=torch.float64), torch.tensor([length]))
        expected = max(0, (length - sees) // encoder.subsampling_factor + 1)
        assert encoded.frames.shape == (1, max(1, expected), encoder.output_dim)
        assert encoded.lens.tolist() == [expected]
        assert encoder.output_lens(torch.tensor([length])).tolist() == [expected]


@each_config
def test_gradients_reach_every_parameter_and_stay_finite(config: NamedConfig) -> None:
    encoder = build(config)
    features, lens = noisy_batch()
    encoded = encoder(features, lens)
    weights = torch.randn_like(encoded.frames)  # a plain sum has no gradient through a LayerNorm
    sum(
        (frames[:length] * weight[:length]).sum()
        for frames, weight, length in zip(encoded.frames, weights, encoded.lens, strict=True)
    ).backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        if name.endswith("query_key_value.bias"):
            continue  # its middle third, the key bias, cancels in the softmax
        assert parameter.grad.abs().max() > 1e-9, name


@each_config
def test_padding_gets_no_gradient(config: NamedConfig) -> None:
    encoder = build(config)
    features, lens = noisy_batch()
    encoded = encoder(features.requires_grad_(), lens)
    sum((frames[:length] ** 3).sum() for frames, length in zip(encoded.frames, encoded.lens, strict=True)).backward()
    assert features.grad is not None
    for row, length in enumerate(lens):
        assert features.grad[row, length:].abs().sum() == 0


@each_config
@torch.no_grad()
def test_saved_weights_give_the_same_frames(config: NamedConfig, tmp_path: Path) -> None:
    encoder = build(config)
    save_file(encoder.state_dict(), tmp_path / "encoder.safetensors")
    torch.manual_seed(99)
    other = ENCODERS.part(config.name)(config, NUM_FEATURES).double().eval()
    other.load_state_dict(load_file(tmp_path / "encoder.safetensors"))
    assert torch.equal(encoder(*noisy_batch()).frames, other(*noisy_batch()).frames)


@each_config
def test_a_config_survives_json(config: NamedConfig) -> None:
    assert TypeAdapter(EncoderConfig).validate_json(config.model_dump_json()) == config


@each_config
def test_bfloat16_autocast_trains_without_infinities(config: NamedConfig) -> None:
    encoder = build(config).float().train()
    features, lens = noisy_batch()
    with torch.autocast("cpu", torch.bfloat16):
        encoded = encoder(features.float(), lens)
    encoded.frames.float().square().sum().backward()
    assert encoded.frames.isfinite().all()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in encoder.parameters())


@each_config
@torch.no_grad()
def test_bfloat16_weights_encode(config: NamedConfig) -> None:
    encoder = build(config).bfloat16()
    features, lens = noisy_batch()
    assert encoder(features.bfloat16(), lens).frames.isfinite().all()
