"""`asr data import`, `export` and `shard` from the command line."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from asr.cli.main import main

Run = Callable[[str], tuple[object, str]]


@pytest.fixture
def run(workspace: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command line in a copy of the tiny workspace; its status and what it wrote to stderr."""

    def run_line(line: str) -> tuple[object, str]:
        with pytest.raises(SystemExit) as leaving:
            main(shlex.split(line)[1:])
        return leaving.value.code, " ".join(capsys.readouterr().err.split())

    return run_line


def test_what_is_left_out_is_named_and_listed_and_the_rest_imported(run: Run) -> None:
    status, err = run("asr data import half.csv --out new.jsonl")
    assert status == 1
    assert "half.csv:3 (gone): " in err
    assert "gone.wav: there is no such file" in err
    assert f"relative audio paths were taken from {Path.cwd()}; --root names another folder" in err
    assert err.endswith("error: 1 row was left out, the rest is written; --skip-bad accepts that")
    (rejected,) = map(json.loads, Path("new.rejected.jsonl").read_text().splitlines())
    assert (rejected["id"], rejected["where"]) == ("gone", "half.csv:3")
    (row,) = map(json.loads, Path("new.jsonl").read_text().splitlines())
    assert (row["id"], row["audio"], row["text"], row["duration"]) == ("audio/4", "audio/4.wav", "zero", 2.2)


def test_an_import_without_faults_leaves_no_old_list_of_them(run: Run) -> None:
    Path("new.rejected.jsonl").write_text("{}\n")
    status, err = run("asr data import table.csv --out new.jsonl")
    assert status == 0
    assert err == "new.jsonl: 1 utterance, 0.00 h, speakers: not known (read as table)"
    assert not Path("new.rejected.jsonl").exists()


def test_an_import_of_nothing_writes_no_manifest(run: Run) -> None:
    status, err = run("asr data import table.csv --root elsewhere --out new.jsonl --skip-bad")
    assert status == 1
    assert "error: new.jsonl: not written, there is no utterance to import; first reason: " in err
    assert not Path("new.jsonl").exists()
    assert Path("new.rejected.jsonl").exists()


def test_a_manifest_goes_through_every_format_and_back(run: Run) -> None:
    for format, out in {"kaldi": "k", "nemo": "n.jsonl", "lhotse": "l.jsonl.gz"}.items():
        assert run(f"asr data export train.jsonl --format {format} --out {out}") == (0, f"4 utterances: {out}")
        assert run(f"asr data import {out} --out back.jsonl")[0] == 0
        assert Path("back.jsonl").read_text() == Path("train.jsonl").read_text()


def test_shards_are_counted(run: Run) -> None:
    status, err = run("asr data shard train.jsonl --out shards --utterances 3")
    assert status == 0
    assert err == "4 utterances, 0.00 h, 0.2 MB in 2 shards: shards"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("asr data import table.csv --out x --format tabel", "unknown format 'tabel'; did you mean 'table'?"),
        ("asr data import table.csv audio --out x", "belong to lhotse:CORPUS alone"),
        ("asr data import table.csv --out x --set a=1", "belong to lhotse:CORPUS alone"),
        ("asr data import lhotse:yesno --out x", "lhotse:CORPUS takes the folder"),
        ("asr data import lhotse:yesno audio --root . --out x", "lhotse:CORPUS takes the folder"),
        ("asr data export dev.jsonl --out x --format nimo", "unknown format 'nimo'; did you mean 'nemo'?"),
        ("asr data shard dev.jsonl --out x --shard-size 1XB", "'1XB' is not a size"),
    ],
)
def test_wrong_usage_has_status_2(run: Run, line: str, message: str) -> None:
    status, err = run(line)
    assert status == 2
    assert message in err.replace("│ ", "")
