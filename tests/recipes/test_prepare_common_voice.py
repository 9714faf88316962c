"""Common Voice: the lists of any language as released, no download, quotation marks taken literally."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from asr.data.manifest import read_manifest
from asr.errors import AsrError

HEADER = "client_id\tpath\tsentence_id\tsentence\tsentence_domain\tup_votes\tdown_votes\tlocale\n"
LISTS = {
    "train": (
        ("ab12", "common_voice_cy_1.mp3", "\"Mae hi'n braf heddiw."),
        ("ab12", "common_voice_cy_2.mp3", "Bore da!"),
    ),
    "dev": (("cd34", "common_voice_cy_3.mp3", "Sut  wyt ti?"), ("cd34", "common_voice_cy_4.mp3", "")),
    "test": (("ef56", "common_voice_cy_5.mp3", "Ysgol Gymraeg"),),
}


@pytest.fixture
def corpus(tmp_path: Path, make_audio: Any) -> Path:
    """Five Welsh clips in the layout of a release."""
    root = tmp_path / "cv-corpus-17.0-2024-03-15" / "cy"
    for name, rows in LISTS.items():
        for _, clip, _ in rows:
            make_audio(root / "clips" / clip, 0.5, 32000)
        lines = [f"{client}\t{clip}\t7c\t{sentence}\t\t2\t0\tcy\n" for client, clip, sentence in rows]
        (root / f"{name}.tsv").write_text(HEADER + "".join(lines), encoding="utf-8")
    return root


def test_lists_texts_speakers_and_the_language_are_the_release_s(corpus: Path, tmp_path: Path, run_prepare: Any):
    result = run_prepare("common_voice", "--corpus", corpus, "--out", tmp_path)
    assert result.returncode == 0, result.stderr
    train, dev, test = (read_manifest(tmp_path / f"{name}.jsonl") for name in ("train", "dev", "test"))
    assert [(row.id, row.text, row.speaker, row.lang) for row in train] == [
        ("common_voice_cy_1", "\"Mae hi'n braf heddiw.", "ab12", "cy"),
        ("common_voice_cy_2", "Bore da!", "ab12", "cy"),
    ]
    assert [(row.id, row.text) for row in dev] == [("common_voice_cy_3", "Sut wyt ti?")]  # the other has no sentence
    assert [row.speaker for row in test] == ["ef56"]
    assert train[0].duration == pytest.approx(0.5, abs=0.1)  # mp3 pads


def test_it_cannot_be_downloaded_and_says_where_to_ask(tmp_path: Path, run_prepare: Any):
    result = run_prepare("common_voice", "--corpus", tmp_path, "--out", tmp_path)
    assert result.returncode == 1
    assert "no Common Voice corpus here" in result.stderr
    assert "get it from https://commonvoice.mozilla.org/datasets" in result.stderr
    assert run_prepare("common_voice", "--corpus", tmp_path, "--out", tmp_path, "--download").returncode == 2


def test_a_list_without_its_columns_is_refused(corpus: Path, tmp_path: Path, load_recipe: Any):
    (corpus / "dev.tsv").write_text("client_id\tfile\n")
    with pytest.raises(AsrError, match=r"dev\.tsv:1: no column path, sentence"):
        load_recipe("common_voice").prepare(corpus, tmp_path)


def test_a_row_that_lost_a_cell_or_has_one_more_is_refused(corpus: Path, load_recipe: Any):
    good = (corpus / "dev.tsv").read_text(encoding="utf-8")
    first = good.splitlines()[1]
    for bad in (first + "\tmore", first.rpartition("\t")[0]):
        (corpus / "dev.tsv").write_text(good.replace(first, bad), encoding="utf-8")
        with pytest.raises(AsrError, match=r"dev\.tsv: the row of \S+ has not a cell for each column"):
            load_recipe("common_voice").read_set(corpus, "dev")
