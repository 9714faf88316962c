"""WebVTT subtitles."""

from __future__ import annotations

import html

from asr.transcribe.subtitles import DEFAULT_RULES, Cue, SubtitleRules, lay_out_cues
from asr.transcribe.timeline import clock
from asr.transcribe.writers.base import TranscriptSource
from asr.types import Transcript


def to_vtt(transcript: Transcript, source: TranscriptSource, rules: SubtitleRules = DEFAULT_RULES, /) -> str:
    """Cues without identifiers. Where the channels were transcribed apart, they are voices: "<v Channel 1>"."""
    return "".join(["WEBVTT\n", *map(_cue, lay_out_cues(transcript, source.duration, rules))])


def _cue(cue: Cue) -> str:
    voice = "" if cue.channel is None else f"<v Channel {cue.channel + 1}>"
    text = html.escape("\n".join(cue.lines), quote=False)
    return f"\n{clock(cue.start, '.')} --> {clock(cue.end, '.')}\n{voice}{text}\n"
