"""What the options about audio accept and refuse."""

from __future__ import annotations

import pytest
import typer

from asr.audio.raw import RawFormat
from asr.cli.audio_options import parse_channel_option, parse_raw_option


def test_channels_and_raw_formats_are_understood() -> None:
    assert [parse_channel_option(text) for text in ("mix", "split", "1")] == [None, "split", 1]
    assert [parse_raw_option(text) for text in (None, "8000:2")] == [None, RawFormat(8000, 2)]


def test_anything_else_is_a_mistake_of_usage() -> None:
    with pytest.raises(typer.BadParameter, match="'left' is no channel"):
        parse_channel_option("left")
    with pytest.raises(typer.BadParameter, match="'8k' is no raw format"):
        parse_raw_option("8k")
