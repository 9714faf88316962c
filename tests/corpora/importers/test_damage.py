"""A good source that was damaged gives the right rows or names what is wrong: nothing is lost or made up in silence."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asr.corpora.import_report import save
from asr.corpora.importers import import_corpus
from asr.data.manifest import read_manifest
from asr.errors import AsrError

TEXTS = {"one": "yes I think, so", "two": "no", "sub/three": "it was \u00e4 \u201cthing\u201d"}
AUDIO = {"one": "one.wav", "two": "two.flac", "sub/three": "sub/three.wav"}
SECONDS = {"one": 1.0, "two": 2.0, "sub/three": 1.5}


def csv_of(separator: str) -> str:
    rows = [f"{AUDIO[id]}{separator}{json.dumps(TEXTS[id], ensure_ascii=False)}" for id in TEXTS]
    return "".join(f"{row}\n" for row in [f"audio{separator}text", *rows])


def json_of(**names: str) -> str:
    rows = [{names["audio"]: AUDIO[id], names["text"]: TEXTS[id]} for id in TEXTS]
    return "".join(json.dumps(row | ({"duration": 1.0} if "more" in names else {})) + "\n" for row in rows)


def supervisions() -> str:
    rows = [
        {"id": id.replace("/", "-"), "recording_id": id, "start": 0.0, "duration": SECONDS[id], "channel": 0,
         "text": TEXTS[id]} for id in TEXTS
    ]  # fmt: skip
    return "".join(json.dumps(row) + "\n" for row in rows)


def recordings() -> str:
    rows = [{"id": id, "sources": [{"type": "file", "channels": [0], "source": AUDIO[id]}]} for id in TEXTS]
    return "".join(json.dumps(row) + "\n" for row in rows)


# Of each format the files, of which the first is the source and the one to be damaged.
SOURCES: dict[str, dict[str, str]] = {
    "comma": {"t.csv": csv_of(",")},
    "semicolon": {"t.csv": csv_of(";")},
    "tab": {"t.tsv": "".join(f"{AUDIO.get(id, 'path')}\t{text}\n" for id, text in {"": "sentence", **TEXTS}.items())},
    "nemo": {"m.jsonl": json_of(audio="audio_filepath", text="text", more="")},
    "hf": {"metadata.jsonl": json_of(audio="file_name", text="text")},
    "lhotse": {"x_supervisions.jsonl": supervisions(), "x_recordings.jsonl": recordings()},
    "kaldi": {
        "k/text": "".join(f"{id} {text}\n" for id, text in TEXTS.items()),
        "k/wav.scp": "".join(f"{id} {path}\n" for id, path in AUDIO.items()),
    },
    "kaldi segments": {
        "k/segments": "".join(f"{id.replace('/', '-')} {id} 0.1 0.9\n" for id in TEXTS),
        "k/wav.scp": "".join(f"{id} {path}\n" for id, path in AUDIO.items()),
        "k/text": "".join(f"{id.replace('/', '-')} {text}\n" for id, text in TEXTS.items()),
    },
    "kaldi paths": {
        "k/wav.scp": "".join(f"{id} {path}\n" for id, path in AUDIO.items()),
        "k/text": "".join(f"{id} {text}\n" for id, text in TEXTS.items()),
    },
}


def cut(content: bytes, data: st.DataObject) -> bytes:
    start = data.draw(st.integers(0, len(content)))
    return content[:start] + content[data.draw(st.integers(start, len(content))) :]


def truncate(content: bytes, data: st.DataObject) -> bytes:
    return content[: data.draw(st.integers(0, len(content)))]


def flip(content: bytes, data: st.DataObject) -> bytes:
    place = data.draw(st.integers(0, len(content) - 1))
    return content[:place] + bytes([content[place] ^ 1 << data.draw(st.integers(0, 7))]) + content[place + 1 :]


def duplicate(content: bytes, data: st.DataObject) -> bytes:
    lines = content.splitlines(keepends=True)
    place = data.draw(st.integers(0, len(lines) - 1))
    return b"".join([*lines[:place], lines[place], *lines[place:]])


def reorder(content: bytes, data: st.DataObject) -> bytes:
    return b"".join(data.draw(st.permutations(content.splitlines(keepends=True))))


def insert(content: bytes, data: st.DataObject) -> bytes:
    place = data.draw(st.integers(0, len(content)))
    what = data.draw(st.sampled_from([b"\n", b"\t", b'"', b",", b"\r", b"\0", b" ", b"\xff", b"\xef\xbb\xbf"]))
    return content[:place] + what + content[place:]


def recode(content: bytes, data: st.DataObject) -> bytes:
    return content.decode().encode(data.draw(st.sampled_from(["utf-8-sig", "utf-16", "utf-16-le", "cp1252", "utf-32"])))


DAMAGES: dict[str, Callable[[bytes, st.DataObject], bytes]] = {
    one.__name__: one for one in (cut, truncate, flip, duplicate, reorder, insert, recode)
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", SOURCES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15, deadline=None)
@given(data=st.data())
def test_a_damaged_source_gives_right_rows_or_says_what_is_wrong(kind, damage, data, source):
    files = {name: content.encode() for name, content in SOURCES[kind].items()}
    first = next(iter(files))
    good = files[first]
    files[first] = DAMAGES[damage](good, data)
    for name, content in files.items():
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_bytes(content)
    path = source / first
    for _ in range(kind.startswith("kaldi") or kind == "hf"):
        path = path.parent
    said: list[str] = []
    try:
        imported = import_corpus(path, {"hf": "hf_folder"}.get(kind))
        save(Path("new.jsonl"), imported, said.append)
    except AsrError:
        return
    rows = read_manifest("new.jsonl")
    assert all(row.audio.is_file() for row in rows)
    if damage in ("reorder", "duplicate", "recode"):  # what keeps its lines whole keeps its texts
        right = {str(source / AUDIO[id]): TEXTS[id] for id in TEXTS}
        wrong = [row for row in rows if row.text != right[str(row.audio)]]
        assert not [row for row in wrong if row.text.strip()], wrong
    explained = sum("without a text" in line for line in said)
    for fault in imported.faults:
        lines = re.match(r"lines (\d+) to (\d+) are", fault.reason)
        over = re.search(r"goes on over (\d+) line", fault.reason)
        explained += 1 + (int(lines[2]) - int(lines[1]) if lines else int(over[1]) if over else 0)
    num_lines, num_good = (sum(bool(line.strip(b"\0 ")) for line in text.split(b"\n")) for text in (files[first], good))
    assert len(rows) + explained >= len(TEXTS) + min(num_lines - num_good, 0), said
