"""The chunks that a streaming Conformer learns from."""

from __future__ import annotations

import torch

from asr.experiments.loss import batch_loss
from asr.losses.weights import LossConfig
from asr.models.encoders import ENCODERS
from asr.models.encoders.streaming_conformer import StreamingConformer, StreamingConformerConfig
from asr.nn.chunks import Chunking
from asr.training.task import StepDraws
from asr.types import Batch
from tests.tiny_models import tiny_model

NUM_FEATURES = 9


def drawn(config: StreamingConformerConfig, num_steps: int) -> list[Chunking | None]:
    encoder = StreamingConformer(config, NUM_FEATURES)
    return [encoder.draw_chunking(StepDraws(1, step).rng("chunks")) for step in range(num_steps)]


def test_half_of_the_steps_see_all_and_the_others_chunks_of_all_sizes() -> None:
    config = StreamingConformerConfig.tiny().model_copy(update={"left_context": 64})
    draws = drawn(config, 1000)
    chunks = [chunking for chunking in draws if chunking is not None]
    assert 430 < len(chunks) < 570
    assert {chunking.frames for chunking in chunks} == set(range(1, 26))
    assert all(64 <= chunking.left_frames < 64 + chunking.frames for chunking in chunks)


def test_the_settings_say_how_often_and_how_long() -> None:
    always = StreamingConformerConfig.tiny().model_copy(update={"full_context": 0.0, "max_chunk": 3})
    assert {chunking.frames for chunking in drawn(always, 50) if chunking is not None} == {1, 2, 3}
    assert None not in drawn(always, 50)
    never = StreamingConformerConfig.tiny().model_copy(update={"full_context": 1.0})
    assert set(drawn(never, 20)) == {None}


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
        chunking = model.encoder.draw_chunking(StepDraws(4, step).rng("chunks"))
        expected = model(batch, config, chunking)["ctc"][""].sum()
        total = batch_loss(model, batch, config, StepDraws(4, step)).total
        assert torch.equal(total, batch_loss(model, batch, config, StepDraws(4, step)).total)
        torch.testing.assert_close(total, config.weights.get("ctc", 1.0) * expected)
        losses.add(round(float(total.detach()), 3))
    assert len(losses) > 1
