"""The whole acoustic model: its parts, its configuration and what it promises together."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from asr.models.ctc_head import IntermediateCtcConfig
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from asr.errors import ConfigError
from asr.models.asr_model import AsrModel, ModelConfig, build_model
from asr.models.decoders import DECODERS
from asr.models.encoders import ENCODERS
from asr.models.encoders.conformer import ConformerConfig
from asr.text.vocabulary import EOS, SOS
from asr.types import Batch

NUM_FEATURES, VOCAB_SIZE = 10, 9


def config(encoder: str = "conformer", decoder: str | None = "transformer", **changes: object) -> ModelConfig:
    return ModelConfig.model_validate(
        {
            "encoder": ENCODERS.config(encoder).tiny(),
            "decoder": DECODERS.config(decoder).tiny() if decoder else None,
            "intermediate_ctc": IntermediateCtcConfig(layers=(1,)),
        }
        | changes
    )


def build(model_config: ModelConfig) -> AsrModel:
    torch.manual_seed(0)
    return build_model(model_config, NUM_FEATURES, VOCAB_SIZE).double().eval()


def noisy_batch() -> Batch:
    torch.manual_seed(1)
    return Batch(
        ids=("a", "b", "c"),
        features=torch.randn(3, 50, NUM_FEATURES, dtype=torch.float64),
        feature_lens=torch.tensor([31, 50, 9]),
        tokens=torch.randint(4, VOCAB_SIZE, (3, 5)),
        token_lens=torch.tensor([5, 3, 0]),
    )


def row_of(batch: Batch, row: int) -> Batch:
    num_frames, num_tokens = int(batch.feature_lens[row]), int(batch.token_lens[row])
    rows = slice(row, row + 1)
    return Batch(
        ids=batch.ids[rows],
        features=batch.features[rows, :num_frames],
        feature_lens=batch.feature_lens[rows],
        tokens=batch.tokens[rows, :num_tokens],
        token_lens=batch.token_lens[rows],
    )


@pytest.mark.parametrize("encoder", ENCODERS.names())
@pytest.mark.parametrize("decoder", DECODERS.names())
@torch.no_grad()
def test_every_encoder_with_every_decoder_answers_the_same_alone_and_batched(encoder: str, decoder: str) -> None:
    model, batch = build(config(encoder, decoder)), noisy_batch()
    together = model(batch)
    for row in range(3):
        alone = model(row_of(batch, row))
        num_frames, num_tokens = int(together.encoder.lens[row]), int(batch.token_lens[row])
        for ours, theirs, length in [
            (together.ctc_log_probs, alone.ctc_log_probs, num_frames),
            (together.encoder.intermediate[0], alone.encoder.intermediate[0], num_frames),
            (together.decoder_log_probs, alone.decoder_log_probs, num_tokens + 1),
        ]:
            torch.testing.assert_close(ours[row, :length], theirs[0, :length], rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_ctc_never_says_sos_or_eos() -> None:
    output = build(config())(noisy_batch())
    for log_probs in (output.ctc_log_probs, *output.encoder.intermediate):
        assert (log_probs[..., [SOS, EOS]] == -math.inf).all()


@torch.no_grad()
def test_parts_a_model_lacks_are_none_in_its_output() -> None:
    ctc_only = build(config(decoder=None, intermediate_ctc=None))(noisy_batch())
    assert ctc_only.decoder_log_probs is None
    assert ctc_only.encoder.intermediate == ()
    attention_model = build(config(ctc=False, intermediate_ctc=None))
    assert attention_model(noisy_batch()).ctc_log_probs is None
    with pytest.raises(ConfigError, match="no CTC head"):
        attention_model.ctc_log_probs(attention_model.encode(noisy_batch().features, noisy_batch().feature_lens))


@torch.no_grad()
def test_self_conditioning_feeds_posteriors_to_later_layers() -> None:
    model, batch = build(config(decoder=None)), noisy_batch()
    before = model(batch)
    model.intermediate_ctc.conditioning.weight.zero_()
    after = model(batch)
    torch.testing.assert_close(before.encoder.intermediate[0], after.encoder.intermediate[0])
    assert (before.ctc_log_probs - after.ctc_log_probs)[..., 0].abs().max() > 1e-3


def test_saved_weights_have_stable_readable_names_and_load(tmp_path: Path) -> None:
    model = build(config())
    names = set(model.state_dict())
    assert {
        "encoder.subsampling.stages.0.weight",
        "encoder.layers.0.attention.query_key_value.weight",
        "encoder.layers.1.convolution.depthwise.weight",
        "ctc_head.linear.weight",
        "intermediate_ctc.conditioning.weight",
        "decoder.layers.0.cross_attention.key_value.weight",
        "decoder.embedding.weight",
    } <= names
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    other = build_model(config(), NUM_FEATURES, VOCAB_SIZE).double().eval()
    other.load_state_dict(load_file(tmp_path / "model.safetensors"))
    assert torch.equal(model(noisy_batch()).ctc_log_probs, other(noisy_batch()).ctc_log_probs)


def test_a_model_config_survives_json() -> None:
    for encoder in ENCODERS.names():
        assert ModelConfig.model_validate_json(config(encoder).model_dump_json()) == config(encoder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ctc": False, "decoder": None, "intermediate_ctc": None}, "needs an output"),
        ({"ctc": False}, "shares the CTC head"),
    ],
)
def test_a_model_that_cannot_work_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        config(**changes)


@pytest.mark.parametrize("layers", [(0,), (2,), (1, 7)])
def test_intermediate_layers_must_lie_below_the_last(layers: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match=r"must lie in 1\.\.1"):
        build(config(intermediate_ctc=IntermediateCtcConfig(layers=layers)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"dim": 30}, "multiple of"), ({"kernel_size": 30}, "use 31"), ({"dropout": 1.0}, "less than 1")],
)
def test_sizes_that_do_not_fit_are_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ConformerConfig.model_validate(changes)


def test_the_default_conformer_has_the_size_it_is_known_by() -> None:
    model = build_model(ModelConfig(), 80, 32)
    assert 3.9e6 < sum(parameter.numel() for parameter in model.parameters()) < 4.3e6
    assert model.subsampling_factor == 4
    assert model.output_lens(torch.tensor([0, 1, 100, 101])).tolist() == [0, 1, 25, 26]
