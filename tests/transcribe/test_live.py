"""What people see on a terminal while recordings are transcribed, and what Ctrl-C leaves."""

from __future__ import annotations

import itertools
from io import StringIO
from pathlib import Path

import pytest

from asr.audio.io import write_wav
from asr.cli.main import main
from asr.system.display import Display
from asr.transcribe.live import LiveView
from asr.transcribe.progress import Progress
from asr.transcribe.recordings import FileRecording
from asr.types import Segment
from tests.conftest import melody

TALK, OTHER = (FileRecording(Path(name), Path(name)) for name in ("talk.mp3", "other.mp3"))


class Terminal(StringIO):
    """A stream that says it is one."""

    def isatty(self) -> bool:
        return True


def view(screen: StringIO, **options: object) -> LiveView:
    times = itertools.chain([0.0], itertools.repeat(10.0))
    progress = Progress(600.0, now=lambda: next(times))
    settings = {"shows_segments": True, "is_labelled": False, **options}
    return LiveView(Display(screen), progress, **settings)  # type: ignore[arg-type]


def lines(screen: StringIO) -> list[str]:
    """Everything that stood on the screen, a line for each rewriting."""
    return [line for line in screen.getvalue().replace("\r\x1b[K", "\n").split("\n") if line]


def test_a_terminal_shows_language_segments_position_speed_and_time_left() -> None:
    screen = Terminal()
    live = view(screen)
    live.segment(TALK, Segment(0.0, 2.5, "Guten Tag.", language="de"))
    live.segment(TALK, Segment(2.5, 4.0, "Wie geht's?", language="de"))
    live.position(TALK, 60.0)
    assert lines(screen) == [
        "talk.mp3: language de",
        "0.00 to 2.50 s  Guten Tag.",
        "2.50 to 4.00 s  Wie geht's?",
        "talk.mp3  1:00 of 10:00  RTF 0.167  ETA 1:30",
    ]


def test_of_several_recordings_the_newest_words_stand_in_the_live_line() -> None:
    screen = Terminal()
    live = view(screen, shows_segments=False, is_labelled=True)
    live.segment(TALK, Segment(0.0, 2.5, "Good\nmorning."))
    assert lines(screen) == ["talk.mp3  0:00  Good morning."]


def test_a_language_is_told_where_it_changes() -> None:
    screen = Terminal()
    live = view(screen, shows_segments=False, is_labelled=True)
    for recording, language in ((TALK, "de"), (OTHER, "de"), (OTHER, "en")):
        live.segment(recording, Segment(0.0, 1.0, "a", language=language))
    told = [line for line in lines(screen) if "language" in line]
    assert told == ["talk.mp3: language de", "other.mp3: language en"]


def test_what_is_no_terminal_gets_no_language_and_no_position() -> None:
    screen = StringIO()
    live = view(screen, shows_segments=False)
    live.segment(TALK, Segment(0.0, 2.5, "Guten Tag.", language="de"))
    live.position(TALK, 60.0)
    live.finish()
    assert screen.getvalue() == ""


def test_text_is_handed_on_at_once_where_it_is_the_result() -> None:
    screen, taken = Terminal(), list[str]()
    live = view(screen, echo=taken.append)
    live.segment(TALK, Segment(0.0, 2.5, "Good\nmorning."))
    live.segment(TALK, Segment(2.5, 3.0, ""))
    assert taken == ["Good morning.\n"]
    assert live.echoed == "Good morning.\n"
    assert "Good" not in screen.getvalue()


def test_what_there_is_of_an_unfinished_recording_belongs_to_that_one_alone() -> None:
    live = view(StringIO())
    assert live.unfinished("model") is None
    live.segment(TALK, Segment(0.0, 2.5, "one"))
    live.position(OTHER, 1.0)
    assert live.unfinished("model") is None
    live.segment(OTHER, Segment(0.0, 1.5, "two"))
    done = live.unfinished("model")
    assert done is not None
    assert (done.recording, done.transcript.text, done.source.duration) == (OTHER, "two", 1.5)
    live.finish()
    assert live.unfinished("model") is None


def test_a_live_line_is_never_wider_than_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(Display, "_columns", lambda _: 20)
    Display(screen).update("a" * 50)
    assert lines(screen) == ["a" * 19]


@pytest.fixture
def long_recording(workspace: Path) -> str:
    write_wav(Path("long.wav"), melody(3, 12.0), 16000)
    return "long.wav"


def interrupted(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    """The status of a transcription that is broken off after its third segment."""
    seen = []
    original = LiveView.segment

    def impatient(self: LiveView, recording: FileRecording, segment: Segment) -> None:
        original(self, recording, segment)
        seen.append(segment)
        if len(seen) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(LiveView, "segment", impatient)
    options = ("--model", "model", "--vad", "none", "--max-span", "2", "--device", "cpu")
    with pytest.raises(SystemExit) as leaving:
        main(["transcribe", *options, *arguments])
    monkeypatch.setattr(LiveView, "segment", original)
    return leaving.value.code


def test_ctrl_c_keeps_the_part_that_is_done_beside_where_the_whole_will_be(
    long_recording: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = (long_recording, "--format", "txt,json", "--output-dir", "out")
    assert interrupted(monkeypatch, *options) == 130
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == (
        "interrupted: 0 of 1 files are done, long.wav as far as 0:05, in out/long.partial.txt, out/long.partial.json; "
        "repeat the command to go on"
    )
    part = Path("out/long.partial.txt").read_text()
    assert len(part.splitlines()) == 3
    with pytest.raises(SystemExit) as leaving:
        main(["transcribe", "--model", "model", "--vad", "none", "--max-span", "2", "--device", "cpu", *options])
    assert leaving.value.code == 0
    assert Path("out/long.txt").read_text().startswith(part)
    assert not list(Path("out").glob("*.partial.*"))


def test_ctrl_c_writes_the_part_that_is_done_to_standard_output(
    long_recording: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert interrupted(monkeypatch, long_recording) == 130
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 3
    assert captured.err.splitlines()[-1] == "interrupted: 0 of 1 files are done, long.wav as far as 0:05"


def test_on_a_terminal_the_text_comes_as_it_is_ready_and_once(
    long_recording: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["transcribe", long_recording, "--model", "model", "--vad", "none", "--max-span", "2", "--device", "cpu"]
    with pytest.raises(SystemExit):
        main(words)
    piped = capsys.readouterr().out
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    with pytest.raises(SystemExit):
        main(words)
    assert capsys.readouterr().out == piped
    assert len(piped.splitlines()) > 3
