"""What people see while recordings are transcribed, and what is kept of the one that Ctrl-C breaks off."""

from __future__ import annotations

from collections.abc import Callable

from asr import __version__
from asr.system.display import Display
from asr.transcribe.display import one_line
from asr.transcribe.files import Transcribed
from asr.transcribe.progress import Progress
from asr.transcribe.recordings import Recording
from asr.transcribe.requests import whole_transcript
from asr.transcribe.writers import TranscriptSource
from asr.transcribe.writers.base import channel_label
from asr.types import Segment


class LiveView:
    """Follows one recording after the other: position, speed, language, segments as they come.

    On a terminal the language found is told where it is another than before, and the position is shown in a line that
    is overwritten, with the newest words where no segments are shown. `shows_segments` shows each, named by its
    recording if `is_labelled`. `echo` takes texts of segments at once, where they are the result.
    """

    def __init__(
        self,
        display: Display,
        progress: Progress,
        *,
        shows_segments: bool,
        is_labelled: bool,
        echo: Callable[[str], None] | None = None,
    ) -> None:
        self._display = display
        self._progress = progress
        self._shows_segments = shows_segments
        self._is_labelled = is_labelled
        self._echo = echo
        self._recording: Recording | None = None
        self._segments: list[Segment] = []
        self._language: str | None = None  # said last
        self.echoed = ""  # text of the recording, as far as `echo` has it

    def segment(self, recording: Recording, segment: Segment) -> None:
        """A segment is ready."""
        self._follow(recording)
        self._segments.append(segment)
        if segment.language not in (None, self._language):
            self._language = segment.language
            if self._display.is_live:
                self._display.say(f"{recording.name}: language {segment.language}")
        if self._echo is not None and segment.text:
            line = f"{one_line(segment.text)}\n"
            self._display.clear()
            self._echo(line)
            self.echoed += line
        elif self._shows_segments:
            where = f"{recording.name}  " if self._is_labelled else ""
            label = channel_label(segment.channel)
            self._display.say(f"{where}{segment.start:.2f} to {segment.end:.2f} s  {label}{segment.text}")
        else:
            self._show(recording)

    def position(self, recording: Recording, seconds: float) -> None:
        """So many more seconds have been read."""
        self._follow(recording)
        self._progress.add(seconds)
        self._show(recording)

    def finish(self) -> None:
        """The recording is done; nothing of it needs to be kept here."""
        self._display.clear()
        self._recording, self._segments = None, []

    def unfinished(self, model: str) -> Transcribed | None:
        """What there is of the recording that is being transcribed; None without a segment of it."""
        if self._recording is None or not self._segments:
            return None
        reached = max(segment.end for segment in self._segments)
        source = TranscriptSource(self._recording.name, reached, model, __version__)
        return Transcribed(self._recording, whole_transcript(self._segments), source)

    def _show(self, recording: Recording) -> None:
        newest = self._segments[-1].text if self._segments and not (self._shows_segments or self._echo) else ""
        self._display.update(f"{self._progress.line(recording)}  {one_line(newest)}".rstrip())

    def _follow(self, recording: Recording) -> None:
        if recording is not self._recording:
            self._recording, self._segments, self.echoed = recording, [], ""
