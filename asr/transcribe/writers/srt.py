"""SubRip subtitles."""

from __future__ import annotations

import dataclasses

from asr.transcribe.subtitles import DEFAULT_RULES, Cue, SubtitleRules, lay_out_cues
from asr.transcribe.timeline import clock
from asr.transcribe.writers.base import TranscriptSource, channel_label
from asr.types import Transcript


def to_srt(transcript: Transcript, source: TranscriptSource, rules: SubtitleRules = DEFAULT_RULES, /) -> str:
    """Numbered cues. SubRip has no escapes, so an arrow in a text, which marks times, becomes another one.

    Where the channels were transcribed apart, the number of its channel stands before each cue's text.
    """
    labels = {len(channel_label(segment.channel)) for segment in transcript.segments}
    room = max(rules.max_line_length - max(labels, default=0), 1)
    cues = lay_out_cues(transcript, source.duration, dataclasses.replace(rules, max_line_length=room))
    return "".join(_cue(number, cue) for number, cue in enumerate(cues, start=1))


def _cue(number: int, cue: Cue) -> str:
    text = channel_label(cue.channel) + "\n".join(cue.lines).replace("-->", "→")
    return f"{number}\n{clock(cue.start, ',')} --> {clock(cue.end, ',')}\n{text}\n\n"
