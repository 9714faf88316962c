"""Runs side by side: what is in their folders, and what is broken in some."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from asr.bundle.bundle import Bundle
from asr.cli.main import main
from asr.errors import TrainingError
from asr.experiments.claim import CLAIM_FILE
from asr.experiments.ready import num_parameters
from asr.experiments.runs import Run, differing_settings, find_runs
from asr.experiments.runs_report import sort_runs, tables


def edit(folder: str, **changes: str) -> None:
    """Replace words in a folder's configuration."""
    path = Path(folder, "config.yaml")
    text = path.read_text(encoding="utf-8")
    for old, new in changes.items():
        assert f"{old}: " in text
        text = "\n".join(f"{line.partition(':')[0]}: {new}" if line.strip().startswith(f"{old}: ") else line
                         for line in text.splitlines())  # fmt: skip
    path.write_text(text + "\n", encoding="utf-8")


def write_result(folder: str, wer: float, name: str = "test") -> None:
    path = Path(folder, "results", name, "wer.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"wer": wer, "ci95": [wer / 2, wer * 2]}), encoding="utf-8")


def asr(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    """What was printed, what was said."""
    with pytest.raises(SystemExit) as leaving:
        main(list(words))
    captured = capsys.readouterr()
    assert leaving.value.code == 0, captured.err
    return captured


@pytest.fixture
def experiments(workspace: Path) -> Path:
    """Three finished runs, two levels of folders."""
    for name, wer in (("a", 0.3), ("b", 0.1), ("deep/er/c", 0.2)):
        shutil.copytree("model", f"exp/{name}")
        write_result(f"exp/{name}", wer)
    edit("exp/b", lr="0.25")
    write_result("exp/b", 0.05, "other")
    return workspace / "exp"


def test_a_table_tells_of_every_run_and_what_differs(experiments: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed = asr(capsys, "runs", "exp", "--sort", "test").out
    overview, _, difference = printed.partition("what differs")
    rows = {line.split()[0]: line for line in overview.splitlines() if line.strip()}
    assert [name for name in rows if name in ("a", "b", "deep/er/c")] == ["b", "deep/er/c", "a"]
    assert "20.00 (10.00-40.00)" in rows["deep/er/c"]
    assert "5.00 (2.50-10.00)" in rows["b"]
    assert "transformer + ctc + transformer" in rows["a"]
    assert "2/2" in rows["a"]
    assert rows["a"].rstrip().endswith("finished")
    assert "optimizer.lr" in difference
    assert "0.25" in difference
    assert "encoder.dim" not in difference


def test_sizes_epochs_and_scores_are_those_of_the_folder(experiments: Path) -> None:
    runs, broken = find_runs(experiments)
    assert [run.name for run in runs] == ["a", "b", "deep/er/c"]
    assert broken == []
    assert runs[0].parameters == num_parameters(Bundle.load(experiments / "a").model)
    log = [json.loads(line) for line in (experiments / "a/training/train.jsonl").read_text().splitlines()]
    assert runs[0].best == min(record["wer"] for record in log if "wer" in record)
    assert differing_settings(runs) == {"optimizer.lr": [1e-9, 0.25, 1e-9]}


def test_runs_are_sorted_with_unknown_values_last_and_unknown_columns_refused(experiments: Path) -> None:
    runs, _ = find_runs(experiments)
    assert [run.name for run in sort_runs(runs, "other")] == ["b", "a", "deep/er/c"]
    with pytest.raises(TrainingError, match=r"cannot sort by 'wre'; there are name, .*, other, test"):
        sort_runs(runs, "wre")


def test_broken_and_half_folders_are_told_in_a_line_each(experiments: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (experiments / "a/config.yaml").write_text("seed: [", encoding="utf-8")
    (experiments / "b/model.safetensors").write_bytes(b"\x00" * 40)
    (experiments / "deep/er/c/results/test/wer.json").write_text("{", encoding="utf-8")
    (experiments / "half").mkdir()
    (experiments / "half" / CLAIM_FILE).touch()
    (experiments / "foreign").mkdir()
    (experiments / "foreign/config.yaml").write_text("lightning: true\n", encoding="utf-8")
    captured = asr(capsys, "runs", "exp")
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["a", "b", "deep/er/c", "half"]
    assert "not valid YAML" in lines[0]
    assert "damaged" in lines[1]
    assert lines[3] == "half: has no config.yaml; stopped before it began"


def test_a_run_is_running_stopped_or_finished(experiments: Path) -> None:
    log = experiments / "b/training/train.jsonl"
    log.write_text(log.read_text(encoding="utf-8") + '{"kind": "st', encoding="utf-8")  # just being written
    hold = "import sys; from pathlib import Path; from asr.experiments.claim import claimed\n"
    hold += "with claimed(Path('exp/a')): print('held', flush=True); sys.stdin.read()"
    holder = subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    holder.stdout.readline()
    lines = (experiments / "deep/er/c/training/train.jsonl").read_text(encoding="utf-8").splitlines()
    (experiments / "deep/er/c/training/train.jsonl").write_text("\n".join(lines[:-1]) + "\n", encoding="utf-8")
    statuses = [run.status for run in find_runs(experiments)[0]]
    holder.kill()
    holder.communicate()
    assert statuses == ["running", "finished", "stopped"]
    assert find_runs(experiments)[0][0].status == "finished"


def test_json_holds_what_programs_need(experiments: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = json.loads(asr(capsys, "runs", "exp", "--json", "--sort", "name").out)
    assert [run["name"] for run in told["runs"]] == ["a", "b", "deep/er/c"]
    assert told["runs"][1]["results"]["other"] == {"wer": 0.05, "ci95": [0.025, 0.1]}
    assert told["runs"][1]["differs"] == {"optimizer.lr": 0.25}
    assert told["runs"][0]["rate"]["audio_seconds_per_second"] > 0
    assert told["broken"] == []


def test_language_models_stand_in_a_table_of_their_own_and_all_curves_in_one_picture(
    experiments: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asr(capsys, "lm", "train", "--neural", "lm.yaml", "--out", "exp/lm", "--device", "cpu")
    printed = asr(capsys, "runs", "exp", "--plot", "runs.png").out
    title, heading, row, *_ = printed[printed.index("language models") :].splitlines()
    assert "dev perplexity" in heading
    assert row.split()[:2] == ["lm", "lstm"]
    assert Path("runs.png").read_bytes().startswith(b"\x89PNG")
    assert not title.startswith("models")


def test_a_folder_without_runs_is_an_error_that_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no run at or below it; `asr train CONFIG"):
        find_runs(tmp_path)


def drawn(runs: list[Run], width: int) -> str:
    console = Console(width=width, file=io.StringIO())
    for table in tables(runs, width):
        console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_names_stay_whole_on_a_narrow_terminal(experiments: Path) -> None:
    runs, _ = find_runs(experiments)
    names = [f"sweep/conformer-lr-{number}-with-a-long-name" for number in range(3)]
    differing = {f"encoder.subsampling.some_long_key_{number}": number for number in range(4)}
    long = [  # wider together than the terminal
        replace(run, name=name, results={}, settings={key: f"{value}{name[12:20]}" for key, value in differing.items()})
        for run, name in zip(runs, names, strict=True)
    ]
    printed = drawn(long, 100)
    assert all(printed.count(name) == 1 for name in names)
    assert all(key in printed for key in differing)
    assert printed.count("finished") == 3
    assert all(drawn(long, 300).count(name) == 2 for name in names)
    assert [line.split()[:2] for line in printed.splitlines() if "sweep" in line and "finished" in line] == [
        [str(number), name] for number, name in enumerate(names, start=1)
    ]


def test_environments_that_differ_in_much_are_one_row(experiments: Path) -> None:
    runs, _ = find_runs(experiments)
    first, second, third = runs
    other = {key: f"{value}x" if key.startswith("environment.") else value for key, value in second.settings.items()}
    printed = drawn([first, replace(second, settings=other), third], 200)
    _, _, difference = printed.partition("what differs")
    rows = [line.split() for line in difference.splitlines()]
    assert ["name", "optimizer.lr", "environment"] in rows
    assert ["b", "0.25", "2"] in rows
    assert {row[-1] for row in rows if row and row[0] in ("a", "deep/er/c")} == {"1"}
    assert "environments differ in asr, commit" in " ".join(difference.split())
    assert "environment." not in difference
