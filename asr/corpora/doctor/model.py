"""What a model needs of a row: pieces to spell its text with, and enough encoder frames for CTC to align them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from asr.features import Frontend
from asr.lengths import ctc_min_frames
from asr.text.tokenizer import Tokenizer

LONGEST = 1e9  # seconds; more would overflow a length


@dataclass(frozen=True)
class ModelNeeds:
    """A tokenizer, a front-end and the lengths that an encoder makes."""

    tokenizer: Tokenizer
    frontend: Frontend
    output_len: Callable[[int], int] | None = None  # feature frames -> encoder frames; None leaves CTC unchecked
    max_speed: float = 1.0  # the fastest speed of augmentation, which leaves fewest frames

    def feature_len(self, duration: float) -> int:
        """Feature frames of so many seconds at the fastest speed."""
        num_samples = int(min(duration, LONGEST) / self.max_speed * self.frontend.sample_rate)
        return int(self.frontend.output_lens(torch.tensor(num_samples)))

    def infeasible(self, text: str, feature_len: int) -> str | None:
        """Why CTC cannot align a normalised text with so many feature frames; None if it can, or if no one asked."""
        if self.output_len is None or not feature_len:
            return None
        tokens = self.tokenizer.encode(text)
        needed, there = ctc_min_frames(tokens), self.output_len(feature_len)
        if there >= needed:
            return None
        speed = f" at {self.max_speed:g} times the speed" if self.max_speed != 1 else ""
        return f"{len(tokens)} tokens need {needed} encoder frames, there are {there}{speed}"
