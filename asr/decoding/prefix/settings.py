"""What both kernels are given."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PrefixBeamSettings:
    """Widths, weights and thresholds; a threshold of -inf is none."""

    beam: int
    lm_weight: float
    length_bonus: float
    token_threshold: float
    beam_threshold: float
