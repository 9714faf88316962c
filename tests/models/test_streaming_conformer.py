"""The chunks that a streaming Conformer learns from."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from asr.experiments.loss import batch_loss
from asr.losses.weights import LossConfig
from asr.models.encoders import ENCODERS
from asr.models.encoders.streaming_conformer import StreamingConformer, StreamingConformerConfig
from asr.nn.chunks import Chunking
from asr.training.task import StepDraws
from asr.types import Batch
from tests.tiny_models import tiny_model

NUM_FEATURES = 9


def drawn(config: StreamingConformerConfig, num_steps: int, num_views: int = 1) -> list[tuple[Chunking | None, ...]]:
    encoder = StreamingConformer(config, NUM_FEATURES)
    draws = [encoder.draw_chunks(StepDraws(1, step).rng("chunks"), num_views) for step in range(num_steps)]
    return [draw for draw in draws if isinstance(draw, tuple)]


def test_half_of_the_steps_see_all_and_the_others_chunks_of_all_sizes() -> None:
    config = StreamingConformerConfig.tiny().model_copy(update={"left_context": 64})
    chunks = [chunking for (chunking,) in drawn(config, 1000) if chunking is not None]
    assert 430 < len(chunks) < 570
    assert {chunking.frames for chunking in chunks} == set(range(2, 33))
    assert all(64 <= chunking.left_frames < 64 + chunking.frames for chunking in chunks)
    octaves = [sum(low <= chunking.frames < 2 * low for chunking in chunks) / len(chunks) for low in (2, 4, 8, 16)]
    assert all(0.17 < share < 0.33 for share in octaves)


def test_of_two_views_one_is_whole() -> None:
    config = StreamingConformerConfig.tiny()
    pairs = drawn(config, 200, num_views=2)
    assert all(sum(chunking is None for chunking in pair) == 1 for pair in pairs)
    assert 60 < sum(pair[0] is None for pair in pairs) < 140
    rarely = drawn(config.model_copy(update={"full_context": 0.2}), 1000, num_views=2)
    assert 0.15 < sum(chunking is None for pair in rarely for chunking in pair) / 2000 < 0.25


def test_the_settings_say_how_often_and_how_long() -> None:
    always = StreamingConformerConfig.tiny().model_copy(update={"full_context": 0.0, "min_chunk": 1, "max_chunk": 3})
    assert {chunking.frames for (chunking,) in drawn(always, 50) if chunking is not None} == {1, 2, 3}
    assert (None,) not in drawn(always, 50)
    never = StreamingConformerConfig.tiny().model_copy(update={"full_context": 1.0})
    assert set(drawn(never, 20)) == {(None,)}
    with pytest.raises(ValidationError, match="min_chunk 5 is above max_chunk 4"):
        StreamingConformerConfig(min_chunk=5, max_chunk=4)


def test_convolutions_that_see_both_sides_learn_from_whole_utterances() -> None:
    both_sides = StreamingConformerConfig.tiny().model_copy(update={"causal": False, "right_context": 2})
    assert set(drawn(both_sides, 20, num_views=2)) == {(None, None)}


def test_each_view_sees_its_own_chunks() -> None:
    encoder = StreamingConformer(StreamingConformerConfig.tiny(), NUM_FEATURES).eval()
    features, lens = torch.randn(2, 90, NUM_FEATURES), torch.tensor([90, 70])
    chunks = (Chunking(2, 1), None)
    both = encoder(torch.cat([features, features]), lens.repeat(2), chunks=chunks).frames
    for view, one in zip(both.split(2), chunks, strict=True):
        alone = encoder(features, lens, chunks=one).frames
        assert all(
            torch.allclose(row[:length], other[:length], atol=1e-5)
            for row, other, length in zip(view, alone, (22, 17), strict=True)
        )


def test_the_loss_of_a_step_is_that_of_its_chunks_on_every_rank() -> None:
    torch.manual_seed(0)
    model = tiny_model("ctc", num_features=NUM_FEATURES, vocab_size=12, encoder="streaming_conformer").eval()
    batch = Batch(
        ids=("a", "b"),
        features=torch.randn(2, 160, NUM_FEATURES),
        feature_lens=torch.tensor([160, 120]),
        tokens=torch.randint(4, 12, (2, 9)),
        token_lens=torch.tensor([9, 5]),
    )
    config, encoder = LossConfig(), ENCODERS.part("streaming_conformer")
    assert isinstance(model.encoder, encoder)
    losses = set()
    for step in range(6):
        chunks = model.encoder.draw_chunks(StepDraws(4, step).rng("chunks"))
        expected = model(batch, config, chunks)["ctc"][""].sum()
        total = batch_loss(model, batch, config, StepDraws(4, step)).total
        assert torch.equal(total, batch_loss(model, batch, config, StepDraws(4, step)).total)
        torch.testing.assert_close(total, config.weights.get("ctc", 1.0) * expected)
        losses.add(round(float(total.detach()), 3))
    assert len(losses) > 1
