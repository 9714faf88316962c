"""TED-LIUM 3: rows of STM files as segments of talks, with the text rules that others follow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from asr.data.manifest import read_manifest
from asr.errors import AsrError

SETS = ("train", "dev", "test")
TALKS = {
    "train/A_2016": """A_2016 1 A_2016 0.10 0.70 <o,f0,female> i 'm a mother(2) <sil> {NOISE} of (A_2016-0.10-0.70-F0_F)
A_2016 1 A_2016 0.70 1.40 <o,f0,female> the parents ' <unk> fears that 's all
""",
    "dev/AlGore_2009": """;; LABEL "o" "Overall" "Overall results"
AlGore_2009 1 inter_segment_gap 0 0.5 <o,,unknown> ignore_time_segment_in_scoring
AlGore_2009 1 AlGore_2009 0.50 1.20 <F0_M> last year i showed these two slides
AlGore_2009 1 AlGore_2009 1.20 1.50 <o,f0,male> [NOISE]
""",
    "test/AimeeMullins_2009P": "AimeeMullins_2009P 1 AimeeMullins_2009P 0.00 1.21 <o,f0,female> i 'd like to share\n",
}


@pytest.fixture
def corpus(tmp_path: Path, make_audio: Any) -> Path:
    """Three talks of 1.5 s in the official layout."""
    root = tmp_path / "TEDLIUM_release-3"
    for talk, rows in TALKS.items():
        name, title = talk.split("/")
        make_audio(root / "legacy" / name / "sph" / f"{title}.sph", 1.5)
        (root / "legacy" / name / "stm").mkdir(exist_ok=True)
        (root / "legacy" / name / "stm" / f"{title}.stm").write_text(rows)
    return root


def test_sets_segments_texts_and_speakers_are_the_official_ones(corpus: Path, tmp_path: Path, load_recipe: Any):
    load_recipe("tedlium3").prepare(corpus, tmp_path)
    rows = [row for name in SETS for row in read_manifest(tmp_path / f"{name}.jsonl")]
    assert [(row.id, row.start, row.duration, row.text) for row in rows] == [
        ("A_2016-0000010-0000070", 0.1, 0.6, "i'm a mother of"),
        ("A_2016-0000070-0000140", 0.7, 0.7, "the parents' fears that's all"),
        ("AlGore_2009-0000050-0000120", 0.5, 0.7, "last year i showed these two slides"),
        ("AimeeMullins_2009P-0000000-0000121", 0.0, 1.21, "i'd like to share"),
    ]
    assert [row.speaker for row in rows] == [row.id.split("-")[0] for row in rows]
    assert {row.lang for row in rows} == {"en"}


@pytest.mark.parametrize(
    "row", ["AlGore_2009 1 AlGore_2009 1.0 0.5 <o,f0,male> a", "AlGore_2009 1 0.5", "x 1 x 0 9 <o> a"]
)
def test_a_line_that_is_no_segment_of_the_talk_is_named(row: str, corpus: Path, tmp_path: Path, load_recipe: Any):
    (corpus / "legacy/dev/stm/AlGore_2009.stm").write_text(f"\n{row}\n")
    with pytest.raises(AsrError, match=r"AlGore_2009\.stm:2: expected a row within 1\.50 s of audio"):
        load_recipe("tedlium3").prepare(corpus, tmp_path)


def test_a_row_may_end_a_little_after_its_recording(corpus: Path, tmp_path: Path, load_recipe: Any):
    (corpus / "legacy/dev/stm/AlGore_2009.stm").write_text("AlGore_2009 1 AlGore_2009 1.0 1.7 <o,f0,male> bye\n")
    load_recipe("tedlium3").prepare(corpus, tmp_path)
    assert read_manifest(tmp_path / "dev.jsonl")[0].duration == 0.5
