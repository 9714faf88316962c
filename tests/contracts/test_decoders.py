"""What every registered decoder promises, in float64 so that a leak shows and rounding does not."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from safetensors.torch import load_file, save_file
from torch import Tensor

from asr.lengths import padding_mask
from asr.models.heads import HEADS, HeadConfig
from asr.models.heads.decoder import Decoder
from asr.registry import NamedConfig
from asr.text.vocabulary import Vocabulary
from asr.types import EncoderOutput

ENCODER_DIM = 10
BLANK, UNK, SOS, EOS = range(4)
VOCABULARY = Vocabulary(("<blank>", "<unk>", "<s>", "</s>", *"abcdefg"), BLANK, UNK, SOS, EOS)
VOCAB_SIZE = len(VOCABULARY)

CONFIGS = {name: HEADS.config(name).tiny() for name in HEADS.names() if issubclass(HEADS.part(name), Decoder)}
each_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())


def build(config: NamedConfig) -> Decoder[Any]:
    torch.manual_seed(3)
    decoder: Decoder[Any] = HEADS.part(config.name)(config, ENCODER_DIM, VOCABULARY).double().eval()
    return decoder


def noisy_batch() -> tuple[EncoderOutput, Tensor, Tensor]:
    """Frames and tokens with noise for padding; one row without tokens, one without frames."""
    torch.manual_seed(4)
    encoded = EncoderOutput(torch.randn(4, 13, ENCODER_DIM, dtype=torch.float64) * 3, torch.tensor([13, 7, 1, 0]))
    tokens, token_lens = torch.randint(4, VOCAB_SIZE, (4, 6)), torch.tensor([6, 3, 0, 2])
    tokens[padding_mask(token_lens, 6)] = 123456  # not even a token
    return encoded, tokens, token_lens


@each_config
@torch.no_grad()
def test_an_utterance_is_scored_the_same_alone_and_among_noise(config: NamedConfig) -> None:
    decoder = build(config)
    encoded, tokens, token_lens = noisy_batch()
    batched = decoder(encoded, tokens, token_lens)
    assert batched.shape == (4, 7, VOCAB_SIZE)
    for row, length in enumerate(token_lens):
        frames = encoded.frames[row : row + 1, : max(1, int(encoded.lens[row]))]  # encoders never give none
        if encoded.lens[row] == 0:
            frames = torch.randn_like(frames)
        alone = decoder(
            EncoderOutput(frames, encoded.lens[row : row + 1]),
            tokens[row : row + 1, :length],
            token_lens[row : row + 1],
        )
        torch.testing.assert_close(batched[row, : length + 1], alone[0], rtol=1e-9, atol=1e-9)


@each_config
@torch.no_grad()
def test_step_by_step_equals_teacher_forcing(config: NamedConfig) -> None:
    decoder = build(config)
    encoded, _, _ = noisy_batch()
    tokens = torch.randint(4, VOCAB_SIZE, (4, 6))
    forced = decoder(encoded, tokens, torch.full((4,), 6))
    state = decoder.init_state(encoded)
    last = torch.full((4,), SOS)
    for position in range(7):
        log_probs, state = decoder.step(last, state)
        torch.testing.assert_close(log_probs, forced[:, position], rtol=1e-9, atol=1e-9)
        last = tokens[:, min(position, 5)]


@pytest.mark.parametrize("rows", [[2, 0, 0, 3, 1], [3, 1, 3, 3], [2]])
@each_config
@torch.no_grad()
def test_reordered_rows_go_on_as_themselves(config: NamedConfig, rows: list[int]) -> None:
    decoder = build(config)
    encoded, _, _ = noisy_batch()
    _, state = decoder.step(torch.full((4,), SOS), decoder.init_state(encoded))
    _, state = decoder.step(torch.tensor([4, 5, 6, 7]), state)
    last = torch.tensor([8, 9, 10, 4])
    straight, _ = decoder.step(last, state)
    index = torch.tensor(rows)
    reordered = decoder.reorder(state, index)
    twice = torch.tensor([0, len(rows) - 1, 0])
    for rows_after, state_after in [(index, reordered), (index[twice], decoder.reorder(reordered, twice))]:
        log_probs, _ = decoder.step(last[rows_after], state_after)
        torch.testing.assert_close(log_probs, straight[rows_after], rtol=1e-9, atol=1e-9)
    again, _ = decoder.step(last, state)
    assert torch.equal(again, straight), "a step changed the state it was given"


@each_config
@torch.no_grad()
def test_log_probs_sum_to_one_without_blank_and_sos(config: NamedConfig) -> None:
    log_probs = build(config)(*noisy_batch())
    torch.testing.assert_close(log_probs.logsumexp(-1), torch.zeros(4, 7, dtype=torch.float64), rtol=0, atol=1e-9)
    assert (log_probs[..., [BLANK, SOS]] == -math.inf).all()
    assert log_probs[..., EOS].isfinite().all()


@each_config
def test_gradients_reach_every_parameter_and_the_frames(config: NamedConfig) -> None:
    decoder = build(config)
    encoded, tokens, token_lens = noisy_batch()
    frames = encoded.frames.requires_grad_()
    log_probs = decoder(EncoderOutput(frames, encoded.lens), tokens, token_lens)
    sum(row[: length + 1, EOS].sum() for row, length in zip(log_probs, token_lens, strict=True)).backward()
    for name, parameter in decoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 1e-9, name
    assert frames.grad is not None
    for row, length in enumerate(encoded.lens):
        assert (frames.grad[row, :length] != 0).any() or length == 0
        assert (frames.grad[row, length:] == 0).all()


@each_config
@torch.no_grad()
def test_saved_weights_give_the_same_scores(config: NamedConfig, tmp_path: Path) -> None:
    decoder = build(config)
    save_file(decoder.state_dict(), tmp_path / "decoder.safetensors")
    torch.manual_seed(99)
    other = HEADS.part(config.name)(config, ENCODER_DIM, VOCABULARY).double().eval()
    other.load_state_dict(load_file(tmp_path / "decoder.safetensors"))
    assert torch.equal(decoder(*noisy_batch()), other(*noisy_batch()))


@each_config
def test_a_config_survives_json(config: NamedConfig) -> None:
    assert TypeAdapter(HeadConfig).validate_json(config.model_dump_json()) == config


@each_config
def test_bfloat16_autocast_trains_without_infinities(config: NamedConfig) -> None:
    decoder = build(config).float().train()
    encoded, tokens, token_lens = noisy_batch()
    with torch.autocast("cpu", torch.bfloat16):
        log_probs = decoder(EncoderOutput(encoded.frames.float(), encoded.lens), tokens, token_lens)
    assert log_probs.dtype == torch.float32
    log_probs[..., EOS].sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in decoder.parameters())


@each_config
@torch.no_grad()
def test_bfloat16_weights_step(config: NamedConfig) -> None:
    decoder = build(config).bfloat16()
    encoded, _, _ = noisy_batch()
    state = decoder.init_state(EncoderOutput(encoded.frames.bfloat16(), encoded.lens))
    log_probs, _ = decoder.step(torch.full((4,), SOS), state)
    assert log_probs[:, EOS].isfinite().all()
