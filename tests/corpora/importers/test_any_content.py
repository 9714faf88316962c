"""Whatever stands in a file, an importer gives rows and faults or says in one line why it cannot."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asr.corpora.import_report import save
from asr.corpora.importers import import_corpus
from asr.data.manifest import read_manifest
from asr.errors import AsrError

values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["one.wav", "/", "a" * 300]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)


def rows(*keys: str) -> st.SearchStrategy[bytes]:
    row = st.fixed_dictionaries({}, optional=dict.fromkeys(keys, values))
    return st.lists(row, min_size=1, max_size=4).map(lambda rows: "\n".join(map(json.dumps, rows)).encode())


nemo = rows("audio_filepath", "duration", "text", "offset", "speaker", "id")
lhotse = rows("id", "recording_id", "recording", "supervisions", "start", "duration", "type", "sources", "channel")
words = st.sampled_from(
    ["one.wav", "a", "b", "rec", "0", "1.5", "-1", "nan", "1e400", "|", "x:1", "\t", "\n", "\n", ",", '"']
)
lines = st.lists(words, max_size=25).map(lambda words: " ".join(words).encode()) | st.binary(max_size=60)


@pytest.mark.parametrize(
    ("format", "files"),
    [
        ("nemo", {"m.jsonl": nemo | st.binary(max_size=40)}),
        ("lhotse", {"m.jsonl": lhotse | st.binary(max_size=40)}),
        ("table", {"m.csv": st.one_of(lines, lines.map(b"audio,text,id\n".__add__))}),
        ("kaldi", {"wav.scp": lines, "segments": lines, "text": lines, "utt2spk": lines}),
        ("hf_folder", {"metadata.jsonl": rows("file_name", "text", "id") | lines}),
    ],
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(data=st.data())
def test_nothing_breaks_an_importer(format, files, data, source):
    for name, content in files.items():
        (source / name).write_bytes(data.draw(content))
    path = source / next(iter(files)) if format in ("nemo", "lhotse", "table") else source
    with contextlib.suppress(AsrError):
        imported = import_corpus(path, format)
        assert save(Path("new.jsonl"), imported, str) == len(imported.faults)
        assert read_manifest("new.jsonl") == [replace(row, audio=ANY) for row in imported.utterances]
