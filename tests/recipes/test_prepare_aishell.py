"""AISHELL-1: official sets, characters apart, no recordings without a transcript, archives of speakers unpacked."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest

from asr.data.manifest import read_manifest
from asr.errors import AsrError

SETS = ("train", "dev", "test")
RECORDINGS = {
    "train": ("S0002", ("BAC009S0002W0122", "BAC009S0002W0123")),
    "dev": ("S0724", ("BAC009S0724W0121",)),
    "test": ("S0764", ("BAC009S0764W0121",)),
}
FULL_WIDTH_K = "\uff4b"
TRANSCRIPT = f"""BAC009S0002W0122 而 对 楼市 成交 抑制 作用 最 大 的 限 购
BAC009S0724W0121 广州市 {FULL_WIDTH_K} 歌
BAC009S0764W0121 甚至 出现 交易 几乎 停滞 的 情况
BAC009S0999W0001 没有 录音
"""


@pytest.fixture
def corpus(tmp_path: Path, make_audio: Any) -> Path:
    """Four recordings of three speakers in the official layout; one has no transcript."""
    root = tmp_path / "data_aishell"
    for name, (speaker, ids) in RECORDINGS.items():
        for id in ids:
            make_audio(root / "wav" / name / speaker / f"{id}.wav")
    (root / "transcript").mkdir()
    (root / "transcript/aishell_transcript_v0.8.txt").write_text(TRANSCRIPT, encoding="utf-8")
    return root


def test_sets_texts_and_speakers_are_the_official_ones(corpus: Path, tmp_path: Path, load_recipe: Any):
    load_recipe("aishell").prepare(corpus, tmp_path)
    rows = [row for name in SETS for row in read_manifest(tmp_path / f"{name}.jsonl")]
    assert [(row.id, row.text, row.speaker, row.lang, row.duration) for row in rows] == [
        ("BAC009S0002W0122", "而 对 楼 市 成 交 抑 制 作 用 最 大 的 限 购", "S0002", "zh", 0.5),
        ("BAC009S0724W0121", "广 州 市 K 歌", "S0724", "zh", 0.5),
        ("BAC009S0764W0121", "甚 至 出 现 交 易 几 乎 停 滞 的 情 况", "S0764", "zh", 0.5),
    ]


def test_archives_of_speakers_are_unpacked_once(corpus: Path, tmp_path: Path, load_recipe: Any):
    for name, (speaker, _) in RECORDINGS.items():
        with tarfile.open(corpus / "wav" / f"{speaker}.tar.gz", "w:gz") as tar:
            tar.add(corpus / "wav" / name, name)
        shutil.rmtree(corpus / "wav" / name)
    for _ in range(2):
        load_recipe("aishell").prepare(corpus, tmp_path)
        assert [row.id for row in read_manifest(tmp_path / "dev.jsonl")] == ["BAC009S0724W0121"]
        (corpus / "wav" / "S0724.tar.gz").write_bytes(b"never read again")


def test_a_set_that_is_missing_is_named(corpus: Path, tmp_path: Path, load_recipe: Any):
    shutil.rmtree(corpus / "wav" / "dev")
    with pytest.raises(AsrError, match="dev: no transcribed recordings here"):
        load_recipe("aishell").prepare(corpus, tmp_path)
