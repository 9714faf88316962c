"""A profile tells where time goes and changes nothing."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import pytest

from asr.experiments import launch

SETTINGS = ("training.epochs=1", "data.max_batch_seconds=1.5", "encoder.dropout=0.1", "optimizer.lr=0.001")


def train(out: str, *settings: str, profile: bool) -> None:
    launch.train(Path("experiment.yaml"), Path(out), overrides=(*SETTINGS, *settings), device="cpu", profile=profile)


@pytest.fixture(scope="module")
def watched(tiny_workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was profiled."""
    folder = tmp_path_factory.mktemp("watched") / "workspace"
    shutil.copytree(tiny_workspace, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        train("watched", profile=True)
    return folder / "watched"


def test_a_run_that_is_profiled_ends_with_the_same_weights(watched: Path, workspace: Path) -> None:
    train("plain", profile=False)
    assert Path("plain/model.safetensors").read_bytes() == (watched / "model.safetensors").read_bytes()


def test_the_trace_holds_every_phase_and_the_table_sorts_operations_by_time(watched: Path) -> None:
    folder = watched / "training/profile"
    with gzip.open(folder / "trace.json.gz", "rt", encoding="utf-8") as file:
        names = {event.get("name", "") for event in json.load(file)["traceEvents"]}
    assert {"waiting for data", "loss", "forward"} <= names
    assert any(name.startswith("autograd::engine") for name in names)
    assert any(name.startswith("Optimizer.step") for name in names)
    lines = (folder / "table.txt").read_text(encoding="utf-8").splitlines()
    for phase in ("forward", "loss", "backward", "optimizer", "waiting for data"):
        assert any(line.startswith(f"{phase} ") for line in lines), phase
    start = next(number for number, line in enumerate(lines) if line.startswith("backward "))
    times = [float(line.split()[-1]) for line in lines[start + 1 : lines.index("", start)]]
    assert len(times) > 3
    assert times == sorted(times, reverse=True)


def test_steps_are_counted_where_each_has_several_batches(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train("watched", "training.accumulation=2", "training.epochs=3", profile=True)  # two steps an epoch
    assert "profile of steps 3 to 6:" in capsys.readouterr().err


def test_a_run_too_short_for_a_profile_says_so(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train("short", "training.accumulation=2", profile=True)
    assert "no profile: the run had fewer than 3 steps" in capsys.readouterr().err
    assert not Path("short/training/profile").exists()
