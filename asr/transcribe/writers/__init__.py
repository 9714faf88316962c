"""Transcripts as files; docs/formats.md describes every format.

>>> WRITERS["srt"](transcript, source, SubtitleRules(max_line_length=32))

A new format is one file with one function, and one entry of `WRITERS`.
"""

from __future__ import annotations

from asr.transcribe.writers.base import TranscriptSource, Writer
from asr.transcribe.writers.ctm import to_ctm
from asr.transcribe.writers.json import to_json
from asr.transcribe.writers.srt import to_srt
from asr.transcribe.writers.textgrid import to_textgrid
from asr.transcribe.writers.tsv import to_tsv
from asr.transcribe.writers.txt import to_txt
from asr.transcribe.writers.vtt import to_vtt

__all__ = ["SUFFIXES", "WRITERS", "TranscriptSource", "Writer"]

# By the name of a format, which is also the suffix of its file but for `SUFFIXES`.
WRITERS: dict[str, Writer] = {
    "txt": to_txt,
    "srt": to_srt,
    "vtt": to_vtt,
    "json": to_json,
    "tsv": to_tsv,
    "ctm": to_ctm,
    "textgrid": to_textgrid,
}
SUFFIXES = {"textgrid": "TextGrid"}
