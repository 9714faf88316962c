"""Transcripts as text and JSON."""

from __future__ import annotations

import json

from asr.transcribe.writers import WRITERS, Source
from asr.types import Segment, Transcript, Word

SOURCE = Source("talks/a.wav", 3.25, "exp/m", "0.1.0")
TRANSCRIPT = Transcript(
    (
        Segment(0.0, 1.5, "grüße an", (Word(0.12345, 0.5, "grüße"), Word(0.5, 1.5, "an"))),
        Segment(1.5, 3.25, "alle", (), 0.5),
    )
)


def test_json_has_exactly_the_keys_of_the_design_in_their_order() -> None:
    value = json.loads(WRITERS["json"](TRANSCRIPT, SOURCE))
    assert list(value) == ["audio", "duration", "text", "segments", "model", "version"]
    assert list(value["segments"][0]) == ["start", "end", "text", "confidence", "words"]
    assert list(value["segments"][0]["words"][0]) == ["start", "end", "text", "confidence"]


def test_json_tells_everything_in_seconds_to_the_millisecond() -> None:
    value = json.loads(WRITERS["json"](TRANSCRIPT, SOURCE))
    assert (value["audio"], value["duration"], value["model"], value["version"]) == (
        "talks/a.wav",
        3.25,
        "exp/m",
        "0.1.0",
    )
    assert value["text"] == "grüße an alle"
    assert value["segments"][0]["words"][0] == {"start": 0.123, "end": 0.5, "text": "grüße", "confidence": None}
    assert value["segments"][1] == {"start": 1.5, "end": 3.25, "text": "alle", "confidence": 0.5, "words": []}


def test_json_is_one_line_of_readable_letters() -> None:
    text = WRITERS["json"](TRANSCRIPT, SOURCE)
    assert text.endswith("\n")
    assert text.count("\n") == 1
    assert "grüße" in text


def test_text_is_one_line_per_segment() -> None:
    assert WRITERS["txt"](TRANSCRIPT, SOURCE) == "grüße an\nalle\n"


def test_nothing_said_is_an_empty_file_and_a_json_without_segments() -> None:
    assert WRITERS["txt"](Transcript(()), SOURCE) == ""
    value = json.loads(WRITERS["json"](Transcript(()), SOURCE))
    assert (value["text"], value["segments"]) == ("", [])
