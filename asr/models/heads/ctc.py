"""The CTC head (Graves et al. 2006) and, with the same weights, CTC between encoder layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from asr.alignment.forced import align_texts
from asr.errors import ConfigError
from asr.lengths import ctc_min_frames
from asr.losses.consistency import consistency_loss
from asr.losses.ctc import ctc_loss
from asr.losses.weights import CONSISTENCY, INTERMEDIATE, LossConfig
from asr.models.heads.base import HEADS, TOTAL, Head, NamedHeadConfig
from asr.nn.token_output import TokenOutput
from asr.registry import Config
from asr.text.vocabulary import Vocabulary
from asr.types import Batch, EncoderOutput


class IntermediateCtcConfig(Config):
    """After which encoder layers, counted from 1, a CTC loss is attached, and whether later layers see its output."""

    layers: tuple[int, ...] = Field(min_length=1)  # whose output the loss is taken of, too, counted from 1
    self_conditioning: bool = True  # later layers see what these predicted


class CtcHeadConfig(NamedHeadConfig):
    """The CTC head, and CTC between encoder layers if wanted."""

    name: Literal["ctc"] = "ctc"
    intermediate: IntermediateCtcConfig | None = None


@HEADS.register(CtcHeadConfig)
class CtcHead(Head):
    """A token or blank for every encoder frame; start and end of sentence, no labels of CTC, have probability 0."""

    default_search = "ctc_greedy"

    def __init__(self, config: CtcHeadConfig, encoder_dim: int, vocabulary: Vocabulary) -> None:
        super().__init__(config, vocabulary)
        if vocabulary.blank is None:
            raise ConfigError(f"head '{self.id}' needs a blank, which the vocabulary of its tokenizer lacks")
        self.blank = vocabulary.blank
        ends = {token for token in (vocabulary.sos, vocabulary.eos) if token is not None} - {self.blank}
        self.output = TokenOutput(encoder_dim, len(vocabulary), sorted(ends))

    def log_probs(self, encoded: EncoderOutput) -> Tensor:
        """Log-probabilities (B, S, V), at least float32, of encoder frames."""
        log_probs: Tensor = self.output(encoded.frames)
        return log_probs

    def losses(self, encoded: EncoderOutput, batch: Batch, config: LossConfig) -> dict[str, Tensor]:
        log_probs, targets, lens = self.log_probs(encoded), batch.targets(self.tokenizer), encoded.readable_lens
        tokens = (targets.tokens, targets.readable_lens)
        losses = {TOTAL: ctc_loss(log_probs, lens, *tokens, blank=self.blank)}
        if encoded.intermediate and config.intermediate_weight > 0.0:
            layers = [ctc_loss(layer, lens, *tokens, blank=self.blank) for layer in encoded.intermediate]
            losses[INTERMEDIATE] = torch.stack(layers).mean(0)
        if config.consistency_weight > 0.0:
            assert batch.num_views == 2, "consistency compares two views of each utterance"
            losses[CONSISTENCY] = consistency_loss(log_probs, encoded.lens)
        return losses

    def loss_names(self, config: LossConfig, *, has_intermediate: bool) -> list[str]:
        wanted = {
            TOTAL: True,
            INTERMEDIATE: has_intermediate and config.intermediate_weight > 0.0,
            CONSISTENCY: config.consistency_weight > 0.0,
        }
        return [name for name, is_wanted in wanted.items() if is_wanted]

    @staticmethod
    def min_frames(tokens: Sequence[int]) -> int:
        """One frame a token, and one for the blank that separates two equal ones."""
        return ctc_min_frames(tokens)

    def align(self, encoded: EncoderOutput, texts: Sequence[Sequence[int]]) -> list[np.ndarray | None]:
        return align_texts(self.log_probs(encoded).cpu(), encoded.lens.cpu(), texts, self.vocabulary)


class IntermediateCtc(nn.Module):
    """CTC between encoder layers (Lee & Watanabe 2021), optionally fed back (self-conditioned: Nozaki & Komatsu 2021).

    The head is the model's own, handed in at each call, so that its weights have one name only.
    """

    def __init__(self, config: IntermediateCtcConfig, encoder_dim: int, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.layers = frozenset(config.layers)
        self.norm = nn.LayerNorm(encoder_dim)
        self.conditioning = nn.Linear(len(vocabulary), encoder_dim) if config.self_conditioning else None

    def forward(self, index: int, frames: Tensor, collected: list[Tensor], head: CtcHead) -> Tensor:
        """Frames (B, S, D) after layer `index` go in and on; `collected` grows by log-probabilities (B, S, V)."""
        if index not in self.layers:
            return frames
        log_probs = head.output(self.norm(frames))
        collected.append(log_probs)
        return frames if self.conditioning is None else frames + self.conditioning(log_probs.exp())
