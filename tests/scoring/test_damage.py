"""Hypotheses that were damaged give the right score of what is left, or an error that names a file."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import jiwer
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asr.errors import ScoringError
from asr.scoring.results import score_files
from asr.scoring.rules import Rules
from asr.scoring.texts import open_texts

TEXTS = {"utt-1": "yes I think so", "utt-2": "no", "utt-3": "it was \u00e4 \u201cthing\u201d", "utt-4": ""}
FILES = {
    "text": "".join(f"{id} {text}\n" for id, text in TEXTS.items()),
    "hyp.tsv": "".join(f"{id}\t{text}\n" for id, text in TEXTS.items()),
    "hyp.trn": "".join(f"{text} ({id})\n" for id, text in TEXTS.items()),
    "hyp.jsonl": "".join(json.dumps({"id": id, "text": text}, ensure_ascii=False) + "\n" for id, text in TEXTS.items()),
    "hyp.stm": "".join(f"{id} 1 anna 0 1 <o> {text}\n" for id, text in TEXTS.items()),
}

Damage = Callable[[bytes, random.Random], bytes]


def cut(content: bytes, rng: random.Random) -> bytes:
    start, end = sorted(rng.choices(range(len(content) + 1), k=2))
    return content[:start] + content[end:]


def truncate(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


def flip(content: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1 << rng.randrange(8)]) + content[place + 1 :]


def insert(content: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(content) + 1)
    return content[:place] + rng.choice([b"\n", b"\t", b'"', b"\r", b"\0", b"\xff", b"(", b"}"]) + content[place:]


def duplicate(content: bytes, rng: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    place = rng.randrange(len(lines))
    return b"".join([*lines, lines[place]])


def drop(content: bytes, rng: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    del lines[rng.randrange(len(lines))]
    return b"".join(lines)


def reorder(content: bytes, rng: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    rng.shuffle(lines)
    return b"".join(lines)


def relabel(content: bytes, rng: random.Random) -> bytes:
    return content.replace(f"utt-{rng.randrange(1, 5)}".encode(), f"utt-{rng.randrange(1, 7)}".encode())


def recode(content: bytes, rng: random.Random) -> bytes:
    return content.decode().encode(rng.choice(["utf-8-sig", "utf-16", "cp1252", "utf-16-le", "utf-32"]))


DAMAGES: dict[str, Damage] = {
    one.__name__: one for one in (cut, truncate, flip, insert, duplicate, drop, reorder, relabel, recode)
}
SAME_TEXTS = ("reorder",)  # nothing is lost
NAMED = ("duplicate", "drop")  # an id comes twice, or is missing


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", FILES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_damaged_hypotheses_are_scored_rightly_or_refused(name, damage, seed, tmp_path: Path):
    reference = tmp_path / "ref.jsonl"
    reference.write_text(FILES["hyp.jsonl"], encoding="utf-8")
    hypothesis = tmp_path / name
    hypothesis.write_bytes(DAMAGES[damage](FILES[name].encode(), random.Random(seed)))
    refused = None
    try:
        scored = score_files(*open_texts(reference, hypothesis), Rules())
    except ScoringError as error:
        refused = str(error)
    if refused is not None:
        assert damage not in SAME_TEXTS, refused
        assert name in refused or "hypotheses" in refused or "references" in refused
        return
    assert damage not in NAMED or (name, damage) == ("hyp.stm", "duplicate"), "lost or repeated in silence"
    assert dict(zip(scored.ids, scored.references, strict=True)) == TEXTS
    if damage in SAME_TEXTS:
        assert scored.words.errors == 0
    spoken = [row for row, text in enumerate(scored.references) if text]
    sides = [[scored.references[row] for row in spoken], [scored.hypotheses[row] for row in spoken]]
    peer = jiwer.process_words(*sides)
    inserted = sum(len(scored.hypotheses[row].split()) for row in range(len(TEXTS)) if row not in spoken)
    errors = peer.substitutions + peer.deletions + peer.insertions
    assert scored.words.errors == errors + inserted
