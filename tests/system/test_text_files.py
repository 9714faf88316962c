"""Text files as people save them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from asr.config import read_yaml
from asr.corpora.importers.base import read_text as read_import
from asr.corpora.recipe import read_lines
from asr.data.manifest import read_manifest
from asr.data.sentences import read_texts
from asr.decoding.hotwords import read_hotwords
from asr.scoring.rules import read_hesitations
from asr.scoring.speakers import read_speakers
from asr.scoring.texts import open_texts
from asr.system.text_files import decode_text, read_text

MANIFEST = '{"id": "a", "audio": "a.wav", "duration": 1.0, "text": "one"}\n'
READERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "config.yaml": (read_yaml, "seed: 1\n"),
    "hotwords.txt": (read_hotwords, "anna:3\nnew york\n"),
    "sentences.txt": (lambda path: [text.strip() for _, text in read_texts(path)], "one two\nthree\n"),
    "manifest.jsonl": (read_manifest, MANIFEST),
    "table.csv": (read_import, "audio,text\na.wav,one\n"),
    "hesitations.txt": (read_hesitations, "uh\num\n"),
    "utt2spk": (read_speakers, "a-1 a\nb-1 b\n"),
    "corpus.txt": (lambda path: list(read_lines(path)), "one\ntwo\n"),
    "text": (lambda path: list(open_texts(path)[0].rows()), "a one two\nb three\n"),
}


def outcome(name: str, content: bytes, folder: Path) -> object:
    (folder / name).write_bytes(content)
    return READERS[name][0](folder / name)


@pytest.mark.parametrize("name", READERS)
def test_a_byte_order_mark_or_line_ends_of_windows_change_nothing(name: str, tmp_path: Path) -> None:
    text = READERS[name][1]
    plain = outcome(name, text.encode(), tmp_path)
    assert plain
    assert outcome(name, text.encode("utf-8-sig"), tmp_path) == plain
    if name != "table.csv":  # whose reader tells line ends inside cells from those of rows
        assert outcome(name, text.replace("\n", "\r\n").encode("utf-8-sig"), tmp_path) == plain


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_text_is_decoded_as_its_mark_says(encoding: str) -> None:
    mark = "\ufeff" if encoding.startswith("utf-16-") else ""
    assert decode_text((mark + "na\u00efve \u65e5\n").encode(encoding)) == "na\u00efve \u65e5\n"


def test_marks_inside_a_file_that_was_joined_are_dropped() -> None:
    assert decode_text("one\n".encode("utf-8-sig") + "two\n".encode("utf-8-sig")) == "one\ntwo\n"


def test_what_is_neither_utf_8_nor_marked_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes("na\u00efve".encode("latin-1"))
    with pytest.raises(UnicodeDecodeError):
        read_text(tmp_path / "latin.txt")
    assert decode_text(b"") == ""
