"""The training loss: CTC, attention and their helpers in one weighted sum.

    ctc_total = (1 - intermediate_weight) * ctc + intermediate_weight * mean(intermediate layers)     (InterCTC)
    total = ctc_weight * ctc_total + (1 - ctc_weight) * attention + consistency_weight * consistency

InterCTC: Lee and Watanabe, 2021; joint CTC/attention: Watanabe et al., 2017; consistency: Yao et al., 2024.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor

from asr.errors import ConfigError
from asr.losses.consistency import consistency_loss
from asr.losses.ctc import ctc_loss
from asr.losses.label_smoothing import label_smoothing_loss
from asr.registry import Config
from asr.types import Batch, ModelOutput


class LossConfig(Config):
    """Weights of the parts of the loss."""

    ctc_weight: float = Field(1.0, ge=0.0, le=1.0)  # 1: CTC alone, 0: attention alone
    label_smoothing: float = Field(0.1, ge=0.0, lt=1.0)  # of the attention loss
    intermediate_weight: float = Field(0.3, ge=0.0, lt=1.0)  # share of intermediate CTC where the encoder has it
    consistency_weight: float = Field(0.0, ge=0.0)  # above 0 a batch holds two views of each utterance; paper: 0.2

    def check(self, *, has_ctc: bool, has_decoder: bool) -> None:
        """ConfigError unless the model has every part that the loss needs and the loss trains every part it has."""
        if has_ctc != (self.ctc_weight > 0.0):
            problem = "the model has a CTC head" if has_ctc else "the model has no CTC head"
            raise ConfigError(f"loss.ctc_weight is {self.ctc_weight} but {problem}; change it or the model's ctc")
        if has_decoder != (self.ctc_weight < 1.0):
            problem = "the model has a decoder" if has_decoder else "the model has no decoder"
            raise ConfigError(f"loss.ctc_weight is {self.ctc_weight} but {problem}; change it or the model's decoder")
        if self.consistency_weight > 0.0 and not has_ctc:
            raise ConfigError("loss.consistency_weight needs a CTC head, but the model has none; set it to 0")


@dataclass(frozen=True)
class LossOutput:
    """The loss of one batch. Sums, to be divided by the count of the whole optimiser step."""

    total: Tensor  # () with gradient
    count: int  # utterances, two views of one counted once; of a language model, predicted tokens
    parts: dict[str, Tensor]  # detached () sums before weighting: "ctc", "intermediate", "attention", "consistency"
    per_utterance: Tensor  # (B,) detached share of each row in the total; not finite where a row went wrong


class JointLoss:
    """Weighted sum of the losses a configuration asks for.

    With a consistency weight, rows [0, B/2) and [B/2, B) of every batch must be two views of the same utterances; all
    losses are then averages over the two views.
    """

    def __init__(self, config: LossConfig) -> None:
        self.config = config

    def __call__(self, output: ModelOutput, batch: Batch) -> LossOutput:
        """Loss of a batch from the model's output; the output must have the parts the weights ask for."""
        half = len(batch.ids) // 2
        paired = self.config.consistency_weight > 0.0
        assert not paired or batch.ids[:half] == batch.ids[half:], "the halves of a batch must be views of one another"
        parts = self._row_losses(output, batch)
        scale = 0.5 if paired else 1.0
        per_utterance = scale * self._combine(parts)
        return LossOutput(
            total=per_utterance.sum(),
            count=half if paired else len(batch.ids),
            parts={name: scale * losses.detach().sum() for name, losses in parts.items()},
            per_utterance=per_utterance.detach(),
        )

    def _row_losses(self, output: ModelOutput, batch: Batch) -> dict[str, Tensor]:
        """Unweighted loss of every row, (B,) each; a part without weight is not computed."""
        config, encoder = self.config, output.encoder
        lens = encoder.lens if output.host_lens is None else output.host_lens  # torch's CTC loss reads lengths
        token_lens = batch.readable_lens[1]
        losses = {}
        if config.ctc_weight > 0.0:
            assert output.ctc_log_probs is not None
            losses["ctc"] = ctc_loss(output.ctc_log_probs, lens, batch.tokens, token_lens)
            if encoder.intermediate and config.intermediate_weight > 0.0:
                layers = [ctc_loss(layer, lens, batch.tokens, token_lens) for layer in encoder.intermediate]
                losses["intermediate"] = torch.stack(layers).mean(0)
        if config.ctc_weight < 1.0:
            assert output.decoder_log_probs is not None
            losses["attention"] = label_smoothing_loss(
                output.decoder_log_probs, batch.tokens, batch.token_lens, config.label_smoothing
            )
        if config.consistency_weight > 0.0:
            assert output.ctc_log_probs is not None
            losses["consistency"] = consistency_loss(output.ctc_log_probs, encoder.lens)
        return losses

    def _combine(self, losses: dict[str, Tensor]) -> Tensor:
        config = self.config
        share = config.intermediate_weight if "intermediate" in losses else 0.0
        weights = {
            "ctc": config.ctc_weight * (1.0 - share),
            "intermediate": config.ctc_weight * share,
            "attention": 1.0 - config.ctc_weight,
            "consistency": config.consistency_weight,
        }
        return torch.stack([weights[name] * loss for name, loss in losses.items()]).sum(0)
