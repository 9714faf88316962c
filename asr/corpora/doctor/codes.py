"""What can be wrong with a row: a code for each fault, and how severe it is unless a person judges otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["reject", "warn"]

# In the order in which faults are reported: a row's reason is its first one.
REJECTED = {
    "bad_row": "the line is no manifest row: not JSON, an unknown key, a wrong type",
    "duplicate_id": "an earlier row has the same id",
    "missing": "there is no such audio file",
    "unreadable": "the file is empty, no audio, or damaged",
    "truncated": "the file ends before its header says",
    "not_finite": "NaN or infinite samples",
    "out_of_range": "samples so far beyond full scale that they are no sound",
    "start_beyond_end": "the audio ends before the row starts",
    "duration_mismatch": "the audio is longer or shorter than the row says",
    "all_zero": "every sample is 0",
    "too_short": "shorter than the limit, or than one feature frame",
    "empty_text": "no text is left after normalisation",
    "ctc_infeasible": "CTC needs more encoder frames than there are",
}
WARNED = {
    "silent": "nothing is heard: very quiet, or steady noise",
    "clipped": "the waveform is cut off at its peaks",
    "unscaled": "integers written as floats: samples far beyond full scale",
    "opposite_phases": "the channels cancel each other out in their mean",
    "sample_rate": "another sample rate than expected",
    "channels": "another number of channels than expected",
    "too_long": "longer than the limit",
    "script": "letters of another script than expected",
    "unknown_token": "characters the tokenizer cannot spell",
    "duplicate_audio": "an earlier row has the same samples",
    "duplicate_text": "an earlier row has the same text",
    "speech_rate": "far faster or slower than the corpus",
}
CODES = {**REJECTED, **WARNED}
UNAVOIDABLE = ("bad_row", "duplicate_id")  # no manifest can hold such rows
OF_A_MODEL = ("ctc_infeasible", "unknown_token")  # found only where a model or its configuration is given


@dataclass(frozen=True)
class Finding:
    """A fault of one row."""

    line: int  # of the manifest, from 1
    id: str | None  # of the utterance; None where the line holds none
    code: str  # one of CODES
    reason: str  # for people: what is wrong with this row
