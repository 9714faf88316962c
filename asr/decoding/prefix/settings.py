"""What both kernels are given."""

from __future__ import annotations

from dataclasses import dataclass

SPARE = 16  # places for prefixes beside the beam: in a narrow one, what wins in the end is often among the next few


@dataclass(frozen=True)
class PrefixBeamSettings:
    """Widths, weights and thresholds; a threshold of -inf is none."""

    beam: int  # hypotheses of an n-best list
    lm_weight: float
    length_bonus: float
    token_threshold: float
    beam_threshold: float

    @property
    def width(self) -> int:
        """How many prefixes are followed from frame to frame."""
        return self.beam + SPARE
