"""CTC outputs: at the top of the encoder and, from the same weights, between its layers."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn

from asr.nn.token_output import TokenOutput
from asr.registry import Config
from asr.text.vocabulary import EOS, SOS


class CtcHead(TokenOutput):
    """Encoder frames (B, S, D) -> log-probabilities (B, S, V) float32; SOS and EOS, no labels of CTC, are -inf."""

    def __init__(self, dim: int, vocab_size: int) -> None:
        super().__init__(dim, vocab_size, forbidden=(SOS, EOS))


class IntermediateCtcConfig(Config):
    """After which encoder layers, counted from 1, a CTC loss is attached, and whether later layers see its output."""

    layers: tuple[int, ...] = Field(min_length=1)
    self_conditioning: bool = True


class IntermediateCtc(nn.Module):
    """CTC between encoder layers (Lee & Watanabe 2021), optionally fed back (self-conditioned: Nozaki & Komatsu 2021).

    The head is the model's own, handed in at each call, so that its weights have one name only.
    """

    def __init__(self, config: IntermediateCtcConfig, dim: int, vocab_size: int) -> None:
        super().__init__()
        self.layers = frozenset(config.layers)
        self.norm = nn.LayerNorm(dim)
        self.conditioning = nn.Linear(vocab_size, dim) if config.self_conditioning else None

    def forward(self, index: int, frames: Tensor, collected: list[Tensor], head: CtcHead) -> Tensor:
        """Frames (B, S, D) after layer `index` go in and on; `collected` grows by log-probabilities (B, S, V)."""
        if index not in self.layers:
            return frames
        log_probs = head(self.norm(frames))
        collected.append(log_probs)
        return frames if self.conditioning is None else frames + self.conditioning(log_probs.exp())
