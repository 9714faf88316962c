"""The loss of a batch: what all heads lose, weighted as the experiment says."""

from __future__ import annotations

from asr.losses.weights import LossConfig, weighted_sum
from asr.models.asr_model import AsrModel
from asr.training.task import LossOutput, StepDraws
from asr.types import Batch


def batch_loss(model: AsrModel, batch: Batch, config: LossConfig, draws: StepDraws | None = None) -> LossOutput:
    """The loss summed over the utterances of a batch; of several views of one, the mean.

    An encoder that learns to stream sees the chunks of this step, for each view others, which `draws` choose; without,
    whole utterances.
    Its parts are those of the heads before weighting, `ctc` and `ctc.intermediate` for example.
    """
    chunks = None if draws is None else model.encoder.draw_chunks(draws.rng("chunks"), batch.num_views)
    losses = model(batch, config, chunks)
    scale = 1.0 / batch.num_views
    per_utterance = scale * weighted_sum(losses, config)
    parts = {
        f"{head}.{name}" if name else head: scale * loss.detach().sum()
        for head, named in losses.items()
        for name, loss in named.items()
    }
    return LossOutput(per_utterance.sum(), per_utterance.detach(), parts)
