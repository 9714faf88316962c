"""Ranges from which augmentation draws, as configurations state them: two numbers, the lower one first."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field


def in_order(bounds: tuple[float, float]) -> tuple[float, float]:
    """The bounds as they are; ValueError, which pydantic reports with the key, if the lower one is above the other."""
    if bounds[0] > bounds[1]:
        raise ValueError(f"the lower bound {bounds[0]:g} is above the upper bound {bounds[1]:g}")
    return bounds


Decibel = Annotated[float, Field(ge=-100.0, le=100.0)]
DecibelRange = Annotated[tuple[Decibel, Decibel], AfterValidator(in_order)]
