"""A path that does not exist is told at once, with the one that was perhaps meant."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Runs command lines one after the other: what one imports would be there for the rest, so the first is to blame.
PROGRAM = """
import contextlib, io, json, sys
from asr.cli.main import main

def told(line):
    with contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            main(line.split())
        except SystemExit as leaving:
            status = leaving.code
    return status, err.getvalue(), [name for name in ("torch", "numpy", "soundfile") if name in sys.modules]

print(json.dumps([told(line) for line in sys.argv[1:]]))
"""

CASES = [
    ("transcribe audio/0.wav --model .", ".: is no model folder; did you mean 'model'?"),
    ("transcribe audio/0.wav --model modle", "modle: no such model folder; did you mean 'model'?"),
    ("transcribe audio/0.wav --model model/x", "model/x: no such model folder; `asr train` makes one"),
    (
        "transcribe adio/0.wav --model model",
        "adio/0.wav: there is no such file or folder; did you mean 'audio/0.wav'?",
    ),
    ("transcribe audio/0.wav --model model --set beam=5", "search.* and segmentation.* settings"),
    ("transcribe audio/0.wav --model model --lm wrds.txt", "did you mean 'words.txt'?"),
    ("transcribe audio/0.wav --model model --hotwords hto.txt", "did you mean 'hot.txt'?"),
    ("evaluate model dve.jsonl", "dve.jsonl: there is no such file or folder; did you mean 'dev.jsonl'?"),
    ("evaluate modl dev.jsonl", "did you mean 'model'?"),
    ("tune model dv.jsonl", "did you mean 'dev.jsonl'?"),
    ("align audio/0.waw ref.txt --model model", "did you mean 'audio/0.wav'?"),
    ("train experment.yaml --out exp", "did you mean 'experiment.yaml'?"),
    ("average modell --last 1 --out mean", "did you mean 'model'?"),
    ("info mode", "did you mean 'model'?"),
    ("score ref.txt hip.txt", "did you mean 'hyp.txt'?"),
    ("data check trian.jsonl", "did you mean 'train.jsonl'?"),
    ("data stats trian.jsonl", "did you mean 'train.jsonl'?"),
    ("data leaks train.jsonl dve.jsonl", "did you mean 'dev.jsonl'?"),
    ("data export dve.jsonl --format nemo --out x.jsonl", "did you mean 'dev.jsonl'?"),
    ("data shard dve.jsonl --out shards", "did you mean 'dev.jsonl'?"),
    ("data split dve.jsonl --dev 10%", "did you mean 'dev.jsonl'?"),
    ("data cut model dve.jsonl --out x.jsonl", "did you mean 'dev.jsonl'?"),
    ("lm train trian.jsonl --out lm.arpa", "did you mean 'train.jsonl'?"),
    ("lm train --neural ml.yaml --out lm", "did you mean 'lm.yaml'?"),
]


@pytest.fixture(scope="module")
def told(tiny_workspace: Path) -> dict[str, tuple[int, str, list[str]]]:
    """Line -> status, what it said, and what is imported by then that is heavy."""
    lines = [line for line, _ in CASES]
    command = [sys.executable, "-c", PROGRAM, *lines]
    ended = subprocess.run(
        command, cwd=tiny_workspace, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True
    )
    return dict(zip(lines, json.loads(ended.stdout), strict=True))


@pytest.mark.parametrize(("line", "message"), CASES)
def test_a_wrong_path_is_one_line_before_anything_heavy_is_imported(
    line: str, message: str, told: dict[str, tuple[int, str, list[str]]]
) -> None:
    status, said, heavy = told[line]
    assert status == 1
    (error,) = said.splitlines()
    assert error.startswith("error: ")
    assert message in error
    assert heavy == []
