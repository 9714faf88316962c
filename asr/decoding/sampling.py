"""Texts drawn at random by a decoder's probabilities: where its best text cannot be trusted, another one may be.

Whisper (Radford et al. 2022, section 4.5) tries rising temperatures until a text passes its checks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from asr.decoding.base import Fallback, Prompt
from asr.system.runtime import derive_seed
from asr.types import EncoderOutput, Hypothesis


@dataclass(frozen=True)
class Sampling:
    """A `TokenFilter`, the last one: leaves each row one token, drawn with a temperature above 0.

    The draw depends on the seed, the row's place (one name for each row of `Search.start`) and how much is written,
    not on other rows. The token keeps its log-probability.
    """

    temperature: float
    places: Sequence[str]
    seed: int = 0

    def __call__(self, log_probs: Tensor, tokens: Tensor, prompt_lens: Tensor, rows: Tensor) -> Tensor:
        written = (tokens.shape[1] - prompt_lens).tolist()
        draws = torch.stack(
            [self._draw(row, place, log_probs) for row, place in zip(rows.tolist(), written, strict=True)]
        )
        # of log-probabilities plus independent Gumbel noise, each is the largest with its probability
        chosen = (log_probs / self.temperature - draws.log().to(log_probs)).argmax(1, keepdim=True)
        return torch.full_like(log_probs, -math.inf).scatter(1, chosen, log_probs.gather(1, chosen))

    def _draw(self, row: int, written: int, log_probs: Tensor) -> Tensor:
        seed = derive_seed(self.seed, "temperature", self.temperature, self.places[row], written)
        generator = torch.Generator().manual_seed(seed)
        return torch.empty(log_probs.shape[1]).exponential_(generator=generator)


def sample(
    fallback: Fallback,
    temperature: float,
    encoded: EncoderOutput,
    prompts: Sequence[Prompt | None],
    places: Sequence[str],
) -> list[list[Hypothesis]]:
    """One text of each utterance, drawn with a temperature; the decoder's own filters hold."""
    drawn = Sampling(temperature, places, fallback.seed)
    return fallback.build((drawn,)).search(encoded, prompts)
