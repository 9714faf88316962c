"""`asr data check`, `stats` and `leaks` as a person calls them: exit statuses, and what is left behind."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from asr.cli.main import main

Run = Callable[[str], tuple[object, str, str]]


@pytest.fixture
def run(workspace: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command line in a workspace of its own; returns status, standard output and standard error."""
    assert workspace == Path.cwd()

    def call(line: str) -> tuple[object, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as leaving:
            main(shlex.split(line)[1:])
        captured = capsys.readouterr()
        return leaving.value.code, captured.out, captured.err

    return call


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("asr data check train.jsonl --reject silnt", "did you mean 'silent'?"),
        ("asr data check train.jsonl --ignore bad_row", "cannot be ignored"),
        ("asr data check train.jsonl --script latn", "did you mean 'latin'?"),
        ("asr data check train.jsonl --out c.jsonl --rejected c.jsonl", "two outputs"),
        ("asr data check train.jsonl --rejected r.jsonl", "--rejected needs --out"),
        ("asr data check train.jsonl --model model --config experiment.yaml", "exclude each other"),
        ("asr data leaks train.jsonl dev.jsonl --threshold 0.2", "--threshold"),
    ],
)
def test_wrong_usage_is_told_before_anything_is_done(run: Run, line: str, message: str) -> None:
    status, out, err = run(line)
    assert status == 2
    assert out == ""
    assert message in " ".join(err.replace("│", " ").split())


def test_bad_rows_are_set_aside_and_the_status_is_0_unless_strict(run: Run) -> None:
    with open("train.jsonl", "a", encoding="utf-8") as file:
        file.write("oops\n")
    status, out, _ = run("asr data check train.jsonl --out good/train.jsonl --json check.json --workers 1")
    assert status == 0
    assert "5 rows: 4 kept" in out
    (rejected,) = Path("good/rejected.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(rejected)["row"] == "oops"
    assert json.loads(Path("check.json").read_text(encoding="utf-8"))["codes"]["bad_row"]["count"] == 1
    assert run("asr data check train.jsonl --strict --workers 1")[0] == 1
    assert run("asr data check good/train.jsonl --strict --workers 1")[0] == 0


def test_in_a_pipe_each_code_is_one_line_without_styles(run: Run) -> None:
    _, out, _ = run("asr data check train.jsonl --max-duration 0.5 --workers 1")
    (line,) = [line for line in out.splitlines() if line.startswith("too_long")]
    assert line.split()[:4] == ["too_long", "warn", "4", "100.0"]
    assert "\x1b" not in out


def test_ctrl_c_is_one_line_and_leaves_nothing_half_written(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> Iterator[object]:
        yield []
        raise KeyboardInterrupt

    monkeypatch.setattr("asr.corpora.doctor.check.examine_all", interrupt)
    status, out, err = run("asr data check train.jsonl --out good/train.jsonl --json check.json")
    assert (status, out, err.strip()) == (130, "", "interrupted")
    assert not Path("good").exists()
    assert not Path("check.json").exists()


def test_a_model_that_is_still_to_be_trained_aligns_as_one_that_is(run: Run) -> None:
    """Sixty words do not fit in a second."""
    rows = [json.loads(line) for line in Path("train.jsonl").read_text(encoding="utf-8").splitlines()]
    rows[0]["text"] = " ".join(["one two three"] * 20)
    rows[1]["text"] = "fouré"
    Path("raw.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for option in ("--model model", "--config experiment.yaml"):
        _, out, _ = run(f"asr data check raw.jsonl {option} --workers 1")
        codes = [line.split()[:3] for line in out.splitlines()]
        assert ["ctc_infeasible", "reject", "1"] in codes
        assert ["unknown_token", "warn", "1"] in codes


def test_before_there_is_a_training_manifest_its_tokenizer_is_that_of_the_rows_checked(run: Run) -> None:
    Path("train.jsonl").rename("raw.jsonl")
    status, out, _ = run("asr data check raw.jsonl --config experiment.yaml --workers 1")
    assert status == 0
    assert "unknown_token" not in out


def test_a_normaliser_that_does_not_exist_is_one_line(run: Run) -> None:
    for line in ("check train.jsonl", "stats train.jsonl", "leaks train.jsonl dev.jsonl"):
        status, _, err = run(f"asr data {line} --normalize basics")
        assert status == 1
        assert "did you mean 'basic'?" in err


def test_the_tokenizer_of_an_experiment_on_shards_is_made_from_their_texts(run: Run, workspace: Path) -> None:
    assert run("asr data shard train.jsonl --out shards")[0] == 0
    text = Path("experiment.yaml").read_text(encoding="utf-8")
    Path("shards.yaml").write_text(text.replace("train.jsonl", "shards/shards.jsonl"), encoding="utf-8")
    reports = []
    for config in ("experiment.yaml", "shards.yaml"):
        assert run(f"asr data check dev.jsonl --config {config} --workers 1 --json {config}.json")[0] == 0
        reports.append(json.loads(Path(f"{config}.json").read_text(encoding="utf-8")))
    assert reports[0] == reports[1]
