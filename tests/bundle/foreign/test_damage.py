"""Whatever the files of a folder hold, a model is read from them or one line says what is wrong with which file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.bundle.foreign import import_model
from asr.errors import BundleError
from tests.bundle.foreign.ctc_files import write_ctc
from tests.bundle.foreign.hf_files import write_whisper

SIDE_FILES = {
    "whisper": ("config.json", "generation_config.json", "preprocessor_config.json", "vocab.json", "added_tokens.json"),
    "ctc": ("config.json", "preprocessor_config.json", "vocab.json", "tokenizer_config.json"),
}
STRANGE = st.sampled_from([None, True, False, 0, -1, 1, 3, 7, 10**6, 0.5, "", "x", [], [1], [[1]], {}, {"a": 1}])


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("whole")
    write_whisper(root / "whisper")
    write_ctc(root / "ctc", "wav2vec2", "layer")
    (root / "ctc" / "tokenizer_config.json").write_text('{"pad_token": "<pad>", "word_delimiter_token": "|"}')
    return {name: root / name for name in SIDE_FILES}


def complaint_about(folder: Path) -> str | None:
    """Why a folder is refused; None if it becomes a model folder. Nothing is left in either case."""
    out = folder.with_name("out")
    try:
        import_model(folder, out)
    except BundleError as error:
        assert not out.exists()
        return str(error)
    shutil.rmtree(out)
    return None


@pytest.mark.parametrize("kind", SIDE_FILES)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_setting_with_any_value_is_taken_or_refused_in_one_line(
    kind: str, folders: dict[str, Path], data: st.DataObject
) -> None:
    file = folders[kind] / data.draw(st.sampled_from(SIDE_FILES[kind]), "file")
    whole = file.read_text(encoding="utf-8")
    changed: dict[str, Any] = json.loads(whole)
    name = data.draw(st.sampled_from(sorted(changed)), "setting")
    changed[name] = data.draw(STRANGE, "value")
    if data.draw(st.booleans(), "left out"):
        del changed[name]
    try:
        file.write_text(json.dumps(changed), encoding="utf-8")
        complaint = complaint_about(folders[kind])
    finally:
        file.write_text(whole, encoding="utf-8")
    assert complaint is None or "\n" not in complaint


@pytest.mark.parametrize("kind", SIDE_FILES)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_cut_or_changed_file_is_read_or_refused_in_one_line(
    kind: str, folders: dict[str, Path], data: st.DataObject
) -> None:
    file = folders[kind] / data.draw(st.sampled_from((*SIDE_FILES[kind], "model.safetensors")), "file")
    whole = file.read_bytes()
    content = bytearray(whole)
    place = data.draw(st.integers(0, min(len(content), 6000) - 1), "place")  # where a header is, too
    if data.draw(st.booleans(), "cut"):
        del content[place:]
    else:
        content[place] ^= data.draw(st.integers(1, 255), "bits")
    try:
        file.write_bytes(content)
        complaint = complaint_about(folders[kind])
    finally:
        file.write_bytes(whole)
    assert complaint is None or "\n" not in complaint
