"""The whole way on real speech, by the commands a user types: prepare, train, evaluate, transcribe, score."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ASR = [sys.executable, "-m", "asr.cli.main"]


def run(*command: str | Path) -> str:
    return subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True).stdout


@pytest.mark.slow
def test_yesno_is_learnt_with_hardly_an_error(corpora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run(sys.executable, ROOT / "recipes/yesno/prepare.py", "--corpus", corpora / "yesno", "--out", "data/yesno")
    run(*ASR, "train", ROOT / "recipes/yesno/conf/bilstm_ctc.yaml", "--out", "exp", "--threads", "1")
    run(*ASR, "evaluate", "exp", "data/yesno/test.jsonl")
    score = json.loads(Path("exp/results/test/wer.json").read_text(encoding="utf-8"))
    assert (score["reference_words"], score["utterances"]) == (232, 29)
    assert score["wer"] < 0.01  # none on the machine of the README; another may round its way to another model
    hypotheses = "exp/results/test/hypotheses.jsonl"
    run(*ASR, "score", "data/yesno/test.jsonl", hypotheses, "--json", "again.json")
    assert json.loads(Path("again.json").read_text(encoding="utf-8"))["hits"] == score["hits"]
    first = json.loads(Path(hypotheses).read_text(encoding="utf-8").splitlines()[0])
    recording = next((corpora / "yesno").rglob(f"{first['id']}.wav"))
    assert run(*ASR, "transcribe", recording, "--model", "exp").strip() == first["text"]
