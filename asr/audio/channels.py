"""Which channels of a recording are decoded."""

from __future__ import annotations

from typing import Literal

from asr.errors import ConfigError

SPLIT: Literal["split"] = "split"  # every channel by itself

Channels = int | Literal["split"] | None  # one, counted from 0; every one by itself; the mean of all


def parse_channel(text: str) -> Channels:
    """`mix` (the mean of all channels: None), `split` or a number counted from 0; ConfigError for anything else."""
    if text == "mix":
        return None
    if text == SPLIT:
        return SPLIT
    if text.isascii() and text.isdigit() and len(text) < 10:
        return int(text)
    raise ConfigError(f"'{text}' is no channel; write mix, split or a number: 0 is the first channel")
