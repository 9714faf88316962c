"""What people and programs see of speech while it is spoken."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from asr.errors import UsageError
from asr.transcribe.events import Done, Event, Partial, SegmentReady
from asr.transcribe.segmentation import SegmentationConfig
from asr.transcribe.streaming.engine import LiveEngine
from asr.transcribe.streaming.listen import FileView, JsonlView, TextView, listen
from asr.transcribe.streaming.settings import StreamingConfig
from asr.types import Segment, Transcript, Word
from tests.transcribe.streaming.tools import PARTIALS, RATE, Counter, sound

SEGMENT = Segment(0.5, 1.23456, "one two", (Word(0.5, 0.9, "one", 0.8), Word(1.0, 1.23456, "two", 0.7)), 0.75)
EVENTS: list[Event] = [
    Partial(Segment(0.5, 1.0, "one")),
    SegmentReady(SEGMENT),
    Done(Transcript((SEGMENT,)), 2.0),
]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(view: type[TextView] | type[JsonlView], out: io.StringIO) -> str:
    show = view(out)
    for event in EVENTS:
        show(event)
    return out.getvalue()


def test_a_terminal_shows_what_may_change_in_grey_and_overwrites_it() -> None:
    text = shown(TextView, Terminal())
    assert text == "\r\x1b[K\x1b[90mone\x1b[0m\r\x1b[Kone two\n\r\x1b[K"


def test_a_pipe_gets_final_lines_alone() -> None:
    assert shown(TextView, io.StringIO()) == "one two\n"


def test_of_a_long_partial_the_end_is_shown() -> None:
    out = Terminal()
    TextView(out)(Partial(Segment(0.0, 9.0, " ".join(f"w{number}" for number in range(60)))))
    line = out.getvalue().partition("\x1b[90m")[2].partition("\x1b[0m")[0]
    assert line.endswith("w58 w59")
    assert len(line) < 80


def test_programs_get_one_object_for_each_event() -> None:
    partial, final, done = map(json.loads, shown(JsonlView, io.StringIO()).splitlines())
    assert partial == {"type": "partial", "start": 0.5, "end": 1.0, "text": "one"}
    assert final["type"] == "final"
    assert final["end"] == 1.235
    assert final["words"][1] == {"start": 1.0, "end": 1.235, "text": "two", "confidence": 0.7}
    assert done == {"type": "done", "duration": 2.0, "text": "one two"}


def test_a_file_is_whole_after_every_segment(tmp_path: Path) -> None:
    show = FileView(tmp_path / "talk.srt", "talk", "model")
    show(EVENTS[0])
    assert not (tmp_path / "talk.srt").exists()
    show(EVENTS[1])
    assert "one two" in (tmp_path / "talk.srt").read_text()
    with pytest.raises(UsageError, match="did you mean 'srt'"):
        FileView(tmp_path / "talk.srtt", "talk", "model")


def test_ctrl_c_ends_the_audio_and_what_was_said_is_still_shown() -> None:
    def blocks() -> Iterator[np.ndarray]:
        yield sound(0.2, 1.2)
        raise KeyboardInterrupt

    engine = LiveEngine(Counter(), StreamingConfig(), SegmentationConfig(vad=None), RATE)
    events: list[Event] = []
    assert listen(engine.open(PARTIALS), blocks(), [events.append])
    assert isinstance(events[-1], Done)
    assert events[-1].transcript.text == "word"
    assert not listen(engine.open(PARTIALS), iter([sound(0.2, 1.2)]), [events.append])
