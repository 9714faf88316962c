"""What of a text was not found in its recording, in words."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

from asr.system.display import counted
from asr.transcribe.align.aligner import Alignment, Unspoken
from asr.transcribe.align.script import ScriptLine, unwritable_words

MAX_LINES = 10  # that follow each other and are named one by one
NUM_SHOWN = 8  # words


def unwritable_warning(text: Path, lines: Sequence[ScriptLine]) -> Iterator[str]:
    """A line about words such as digits, where a model writes letters alone."""
    if words := unwritable_words(lines):
        shown = ", ".join(f"'{word}'" for word in words[:NUM_SHOWN]) + ", ..." * (len(words) > NUM_SHOWN)
        yield (
            f"{text}: the model cannot write {shown}; such words get the sound between the others, and confidences "
            "that say nothing; spell them out"
        )


def unspoken_warnings(text: Path, audio: Path, lines: Sequence[ScriptLine], aligned: Alignment) -> Iterator[str]:
    """A line for each that the recording does not hold, one for all of a long run of them."""
    place = {line.number: index for index, line in enumerate(lines)}
    numbered = list(enumerate(aligned.unspoken))
    for whole, found in itertools.groupby(numbered, lambda one: one[1].whole and place[one[1].line] - one[0]):
        run = [missing for _, missing in found]
        if whole is not False and len(run) > MAX_LINES:
            first, last = run[0], run[-1]
            yield (
                f"{text}:{first.line}-{last.line}: {counted(len(run), 'line')} not spoken in {audio}: "
                f"from '{first.text}' to '{last.text}'"
            )
        else:
            yield from (_warning(text, audio, missing) for missing in run)


def _warning(text: Path, audio: Path, missing: Unspoken) -> str:
    return f"{text}:{missing.line}: {'line' if missing.whole else 'words'} not spoken in {audio}: {missing.text}"
