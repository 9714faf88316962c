"""No command writes over what it reads, however the path is written; what cannot be written is told beforehand."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from asr.cli.main import app, main

WRITES_NOTHING = {"models list", "models path", "models pull", "models remove", "info", "config", "serve"}
NOT_INTO_A_FULL_FOLDER = {"models import", "train", "average"}  # they make a folder, see the last test but one

# Command lines with the path to write in braces. A folder there holds the file in question.
REFUSED = [
    "listen --simulate audio/0.wav --model model --output {audio/0.wav}",
    "data import table.csv --out {table.csv}",
    "data import corpus --out {corpus/a.txt}",
    "data import corpus --out {corpus/a.wav}",
    "data export dev.jsonl --format nemo --out {dev.jsonl}",
    "data export dev.jsonl --format lhotse --out {dev.jsonl}",
    "data export folder/text --format kaldi --out {folder}",
    "data export dev.jsonl --format nemo --out {audio/0.wav}",
    "data check dev.jsonl --out {dev.jsonl}",
    "data check dev.jsonl --out good.jsonl --rejected {dev.jsonl}",
    "data check dev.jsonl --json {dev.jsonl}",
    "data check dev.jsonl --config experiment.yaml --json {experiment.yaml}",
    "data check dev.jsonl --model model --json {model/config.yaml}",
    "data check folder/rejected.jsonl --out {folder/good.jsonl}",
    "data stats dev.jsonl --json {dev.jsonl}",
    "data stats dev.jsonl --against train.jsonl --json {train.jsonl}",
    "data stats dev.jsonl --json {audio/0.wav}",
    "data leaks train.jsonl dev.jsonl --json {train.jsonl}",
    "data leaks train.jsonl dev.jsonl --json {dev.jsonl}",
    "data split folder/train.jsonl --dev 20% --out {folder}",
    "data shard folder/shards.jsonl --out {folder}",
    "data cut model dev.jsonl --out {dev.jsonl}",
    "data cut model dev.jsonl --out {model/tokens.txt}",
    "lm train train.jsonl --out {train.jsonl}",
    "lm train train.jsonl ref.txt --out {ref.txt}",
    "lm train train.jsonl --vocab words.txt --out {words.txt}",
    "lm train train.jsonl --dev dev.jsonl --out {dev.jsonl}",
    "score ref.txt hyp.txt --json {ref.txt}",
    "score ref.txt hyp.txt --html {hyp.txt}",
    "score ref.txt hyp.txt --alignments {hyp.txt}",
    "score ref.txt hyp.txt --compare marks.txt --json {marks.txt}",
    "score ref.txt hyp.txt --html page.html --manifest dev.jsonl --json {dev.jsonl}",
    "evaluate model folder/hypotheses.jsonl --out {folder}",
    "evaluate model dev.jsonl --hotwords folder/wer.json --out {folder}",
    "transcribe audio/0.wav --model model --hotwords audio/0.txt --overwrite --output-dir {audio}",
    "transcribe audio/0.txt --raw 16000 --model model --overwrite --output-dir {audio}",
    "transcribe audio --model model --lm folder/0.txt --output-dir {folder}",
    "transcribe audio/0.wav --model model --format tsv --replace folder/0.tsv --overwrite --output-dir {folder}",
    "align audio/0.wav audio/0.txt --model model --format txt,json --output-dir {audio}",
    "align audio/0.wav audio/0.txt --model model --format txt --output-dir {audio}",
    "tune model {model/decode.yaml}",
    "runs . --plot {model/config.yaml}",
    "runs . --plot {model/training/train.jsonl}",
]


@pytest.fixture
def files(workspace: Path) -> Path:
    """The workspace, with inputs where some commands write."""
    (workspace / "corpus").mkdir()
    shutil.copy("audio/0.wav", "corpus/a.wav")
    (workspace / "corpus" / "a.txt").write_text("one two three\n", encoding="utf-8")
    (workspace / "audio" / "0.txt").write_text("one two three\n", encoding="utf-8")
    for name in ("text", "rejected.jsonl", "shards.jsonl", "train.jsonl", "hypotheses.jsonl"):
        rows = [json.loads(line) for line in (workspace / "dev.jsonl").read_text(encoding="utf-8").splitlines()]
        lines = [json.dumps({**row, "audio": str(workspace / row["audio"])}) for row in rows]
        (workspace / "folder").mkdir(exist_ok=True)
        (workspace / "folder" / name).write_text("\n".join(lines), encoding="utf-8")
    for name in ("folder/wer.json", "folder/0.txt", "model/decode.yaml"):
        (workspace / name).write_text("one\n", encoding="utf-8")
    (workspace / "folder" / "0.tsv").write_text("one\ttwo\n", encoding="utf-8")  # a replacement
    return workspace


def contents(folder: Path) -> dict[Path, bytes]:
    """All files, but the indices that reading a manifest leaves beside it."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and ".index" not in str(path)}


def spelled(line: str, spelling: str) -> str:
    """The command line with the path in braces written in another way."""
    before, _, rest = line.partition("{")
    path, _, after = rest.partition("}")
    if spelling == "absolute":
        path = os.path.abspath(path)  # noqa: PTH100
    elif spelling == "roundabout":
        path = f"audio/../{path}"
    elif spelling == "linked":
        Path("link").symlink_to(path)
        path = "link"
    return before + path + after


@pytest.mark.parametrize("line", REFUSED)
def test_no_command_writes_over_what_it_reads(line: str, files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for spelling in ("same", "absolute", "roundabout", "linked"):
        if spelling == "linked" and line.endswith("good.jsonl}"):
            continue  # the other file lies beside the link, not beside its target
        words = spelled(line, spelling).split()
        before = contents(files)
        with pytest.raises(SystemExit) as leaving:
            main(words)
        assert contents(files) == before, spelling
        assert leaving.value.code == 2, spelling
        (error,) = capsys.readouterr().err.splitlines()
        assert "choose another output" in error, spelling


def test_every_command_that_writes_has_a_case() -> None:
    def names(prefix: str, command: Any) -> Iterator[str]:
        below = getattr(command, "commands", {})
        if not below:
            yield prefix
        for name, inner in below.items():
            yield from names(f"{prefix} {name}".strip(), inner)

    commands = set(names("", typer.main.get_command(app)))
    missing = {name for name in commands if not any(line.startswith(f"{name} ") for line in REFUSED)}
    assert missing == WRITES_NOTHING | NOT_INTO_A_FULL_FOLDER


@pytest.mark.parametrize(
    "line",
    [
        "data import table.csv --out table.jsonl",
        "data import corpus --out corpus/manifest.jsonl",
        "data export dev.jsonl --format kaldi --out kaldi",
        "data check dev.jsonl --out good/dev.jsonl --json report.json",
        "score ref.txt hyp.txt --json score.json --html score.html",
        "score ref.txt hyp.txt --json /dev/null --html /dev/null",
        "runs . --plot curves.png",
    ],
)
def test_what_a_command_wrote_itself_it_writes_again(
    line: str, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        with pytest.raises(SystemExit) as leaving:
            main(line.split())
        assert leaving.value.code == 0, capsys.readouterr().err


@pytest.mark.parametrize(
    "line",
    [
        "train experiment.yaml --out .",
        "train model/config.yaml --out model",
        "train experiment.yaml --out experiment.yaml",
        "train --reproduce model --out model",
        "average model --last 1 --out model",
        "average model --last 1 --out train.jsonl",
        "lm train --neural lm.yaml --out .",
        "lm train --neural lm.yaml --out lm.yaml",
    ],
)
def test_a_command_that_makes_a_model_folder_refuses_one_that_is_not_empty(
    line: str, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(files)
    with pytest.raises(SystemExit) as leaving:
        main(line.split())
    assert leaving.value.code == 1
    assert contents(files) == before
    error = capsys.readouterr().err.splitlines()[-1]  # a repetition may warn of another environment before
    assert error.startswith("error: ")
    assert "unexpected" not in error
