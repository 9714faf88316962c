"""What people are told at the end of a run."""

from __future__ import annotations

from pathlib import Path

from asr.transcribe.files import Transcribed
from asr.transcribe.recordings import FileRecording
from asr.transcribe.tally import Tally
from asr.transcribe.writers import TranscriptSource
from asr.types import Segment, Transcript, Word


def done(name: str, *words: Word) -> Transcribed:
    transcript = Transcript((Segment(0.0, 1.0, "one", words),))
    return Transcribed(FileRecording(Path(name), Path(name)), transcript, TranscriptSource(name, 1.0, "exp", "0"))


def test_formats_of_words_warn_where_words_have_no_times() -> None:
    for tells, warned in ((True, True), (False, False)):
        tally = Tally()
        tally.tells_untimed = tells
        tally.add(done("a.wav", Word(0.0, 1.0, "one")))
        tally.add(done("b.wav"))
        assert any("1 of 2 files (b.wav): words have no times" in line for line in tally.warnings()) == warned
