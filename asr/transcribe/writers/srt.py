"""SubRip subtitles."""

from __future__ import annotations

import dataclasses

from asr.transcribe.subtitles import DEFAULT_RULES, SubtitleRules, lay_out_cues
from asr.transcribe.timeline import clock
from asr.transcribe.writers.base import Source, channel_label
from asr.types import Transcript


def to_srt(transcript: Transcript, source: Source, rules: SubtitleRules = DEFAULT_RULES, /) -> str:
    """Numbered cues. SubRip has no escapes, so an arrow in a text, which marks times, becomes another one.

    Where the channels were transcribed apart, the number of its channel stands before each cue's text.
    """
    labels = {len(channel_label(segment.channel)) for segment in transcript.segments}
    room = max(rules.max_line_length - max(labels, default=0), 1)
    cues = lay_out_cues(transcript, source.duration, dataclasses.replace(rules, max_line_length=room))
    return "".join(
        f"{number}\n{clock(cue.start, ',')} --> {clock(cue.end, ',')}\n{channel_label(cue.channel)}{text}\n\n"
        for number, cue in enumerate(cues, start=1)
        for text in ["\n".join(cue.lines).replace("-->", "→")]
    )
