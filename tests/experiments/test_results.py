"""Results of one decoding never replace those of another in silence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from asr.bundle.decode import Decoding
from asr.decoding.ctc_greedy import CtcGreedyConfig
from asr.decoding.ctc_prefix_beam import CtcPrefixBeamConfig
from asr.decoding.hotwords import Hotword
from asr.experiments.results import replaced_results, results_folder

OWN = Decoding(CtcPrefixBeamConfig(lm_weight=0.3), Path("exp/lm.arpa.gz"))


@pytest.mark.parametrize(
    ("decoding", "name"),
    [
        (OWN, "test"),
        (Decoding(CtcGreedyConfig()), "test.ctc_greedy"),
        (Decoding(CtcPrefixBeamConfig(lm_weight=0.3)), "test.ctc_prefix_beam"),
        (Decoding(CtcPrefixBeamConfig(lm_weight=0.4), OWN.lm), "test.ctc_prefix_beam.lm"),
        (Decoding(CtcPrefixBeamConfig(), Path("lms/books.v2.arpa")), "test.ctc_prefix_beam.books.v2"),
        (Decoding(CtcGreedyConfig(), hotwords=(Hotword("x", 1.0),)), "test.ctc_greedy.hotwords"),
    ],
)
def test_another_decoding_has_a_folder_of_its_own(decoding: Decoding, name: str) -> None:
    assert results_folder(Path("exp"), Path("data/test.jsonl"), decoding, OWN) == Path("exp/results", name)


def test_results_of_another_decoding_are_named_when_they_are_replaced(tmp_path: Path) -> None:
    assert replaced_results(tmp_path, OWN) is None
    (tmp_path / "wer.json").write_text(json.dumps({"wer": 0.125, **OWN.to_json()}), encoding="utf-8")
    assert replaced_results(tmp_path, OWN) is None
    line = replaced_results(tmp_path, Decoding(CtcGreedyConfig()))
    assert line is not None
    assert "(ctc_prefix_beam, WER 12.50 %)" in line


@pytest.mark.parametrize("content", ["", "[]", "{}"])
def test_a_file_that_is_no_result_is_named_too(content: str, tmp_path: Path) -> None:
    (tmp_path / "wer.json").write_text(content, encoding="utf-8")
    assert "was no result" in str(replaced_results(tmp_path, OWN))
