"""What --channel may say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.audio.channels import parse_channel
from asr.errors import ConfigError


def test_mix_split_and_numbers_are_channels() -> None:
    assert [parse_channel(text) for text in ("mix", "split", "0", "12")] == [None, "split", 0, 12]


@pytest.mark.parametrize("text", ["", "-1", "1.0", "left", "Mix", "²", "1" * 30])
def test_anything_else_is_told(text: str) -> None:
    with pytest.raises(ConfigError, match="is no channel; write mix, split or a number: 0 is the first channel"):
        parse_channel(text)


@given(st.integers(0, 999_999_999))
def test_every_number_is_itself(number: int) -> None:
    assert parse_channel(str(number)) == number
