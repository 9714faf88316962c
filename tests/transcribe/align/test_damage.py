"""A text or recording that was damaged: every word of the text has a time, or an error names the file."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asr.bundle.bundle import Bundle
from asr.errors import AsrError
from asr.transcribe.align.aligner import Aligner
from asr.transcribe.align.script import read_script, unwritable_words
from asr.transcribe.align.warnings import unspoken_warnings, unwritable_warning
from tests.conftest import melody

TEXT = "one two three\n\nfour five!\n"
SECONDS = 2.0

Damage = Callable[[bytes, random.Random], bytes]


@pytest.fixture(scope="module")
def aligner(tiny_workspace: Path) -> Aligner:
    return Aligner(Bundle.load(tiny_workspace / "model"))


def cut(content: bytes, rng: random.Random) -> bytes:
    start, end = sorted(rng.choices(range(len(content) + 1), k=2))
    return content[:start] + content[end:]


def flip(content: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1 << rng.randrange(8)]) + content[place + 1 :]


def insert(content: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(content) + 1)
    what = [b"\n", b"\r", b"\t", b"\0", b"\xff", b"12 ", b"\xe4\xb8\xad", b"***", b"\xe2\x80\x8b", b"\xc2\xa0"]
    return content[:place] + rng.choice(what) + content[place:]


def repeat(content: bytes, rng: random.Random) -> bytes:
    return content * rng.randrange(2, 40)


def reorder(content: bytes, rng: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    rng.shuffle(lines)
    return b"".join(lines)


def mislabel(content: bytes, rng: random.Random) -> bytes:
    words = content.split()
    return content.replace(rng.choice(words), rng.choice(words))


def recode(content: bytes, rng: random.Random) -> bytes:
    text = content.decode().replace("five", "f\u00fcnf")
    return text.encode(rng.choice(["utf-8-sig", "utf-16", "cp1252", "utf-16-le", "utf-32"]))


def refusal(act: Callable[[], object]) -> str | None:
    """The error that something ends in; None without one."""
    try:
        act()
    except AsrError as error:
        return str(error)
    return None


DAMAGES: dict[str, Damage] = {one.__name__: one for one in (cut, flip, insert, repeat, reorder, mislabel, recode)}


@pytest.mark.parametrize("damage", DAMAGES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=6, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_a_damaged_text_is_timed_word_by_word_or_refused(damage, seed, tmp_path, aligner):
    path = tmp_path / "text.txt"
    path.write_bytes(DAMAGES[damage](TEXT.encode(), random.Random(seed)))
    if refused := refusal(lambda: read_script(path, aligner.bundle)):
        assert refused.startswith(f"{path}: ")
        return
    lines = read_script(path, aligner.bundle)
    aligned = aligner.align_waveform(melody(1, SECONDS), lines)
    segments = aligned.transcript.segments
    words = [word for segment in segments for word in segment.words]
    assert [word.text for word in words] == [word.text for line in lines for word in line.words]
    places = [time for word in words for time in (word.start, word.end)]
    assert all(0 <= time <= SECONDS + 0.05 for time in places)
    assert places == sorted(places)
    numbers = {line.number: line.text for line in lines}
    assert all(one.text in numbers[one.line] for one in aligned.unspoken)
    warned = "\n".join(unspoken_warnings(path, path, lines, aligned))
    assert all(one.text in warned or len(aligned.unspoken) > 10 for one in aligned.unspoken)
    assert bool(unwritable_words(lines)) == bool(list(unwritable_warning(path, lines)))


@pytest.mark.parametrize("damage", ["cut", "flip", "insert", "repeat"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_a_damaged_recording_is_aligned_or_refused(damage, seed, tmp_path, tiny_workspace, aligner):
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    path = tmp_path / "a.wav"
    rng = random.Random(seed)
    whole = (tiny_workspace / "audio" / "1.wav").read_bytes()
    path.write_bytes(DAMAGES[damage](whole[: 44 + 8000 * rng.randrange(1, 4)] if damage == "repeat" else whole, rng))
    lines = read_script(tmp_path / "text.txt", aligner.bundle)
    if refused := refusal(lambda: aligner.align(path, lines)):
        assert refused.startswith(f"{path}: ")
        return
    aligned = aligner.align(path, lines)
    assert [segment.text for segment in aligned.transcript.segments] == [line.text for line in lines]
