"""`data.max_batch_seconds: auto` is a number that memory and learning allow, found once and kept."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml

from asr.bundle.bundle import Bundle
from asr.config import load_experiment
from asr.errors import ConfigError, TrainingError
from asr.experiments import batch_size, dry_run, launch
from asr.experiments.batch_size import learning_seconds, memory_seconds, need, round_down
from asr.experiments.memory_limit import cgroup_limits, held_memory, memory_limit
from asr.experiments.trial import Kind, Trial

AUTO = ("data.max_batch_seconds=auto", "training.epochs=1")
LENGTHS = [Kind(1.0, 100, 5), Kind(8.0, 800, 40)]
ENCODER = ("encoder.dim=64", "encoder.num_layers=4", "encoder.ff_dim=256")


@pytest.fixture
def trial(workspace: Path) -> Trial:
    """Of a model large enough for its activations to outweigh what else a process does."""
    launch.train(Path("experiment.yaml"), Path("larger"), overrides=("training.epochs=1", *ENCODER), device="cpu")
    return Trial(Bundle.load("larger"), torch.device("cpu"))


def saved_size(out: str) -> float:
    return float(yaml.safe_load(Path(out, "config.yaml").read_text(encoding="utf-8"))["data"]["max_batch_seconds"])


def test_auto_becomes_a_number_of_the_saved_experiment_and_a_resumed_run_takes_it(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    launch.train(Path("experiment.yaml"), Path("exp"), overrides=AUTO, device="cpu")
    found = saved_size("exp")
    assert f"data.max_batch_seconds: auto is {found:g} s here" in capsys.readouterr().err

    def refuse(*_: object) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(batch_size, "memory_seconds", refuse)
    launch.train(Path("experiment.yaml"), Path("exp"), overrides=AUTO, resume=True, device="cpu")
    assert saved_size("exp") == found


def test_the_search_leaves_the_weights_as_if_the_number_had_been_given(workspace: Path) -> None:
    launch.train(Path("experiment.yaml"), Path("exp"), overrides=(*AUTO, "encoder.dropout=0.1"), device="cpu")
    given = (f"data.max_batch_seconds={saved_size('exp')}", "training.epochs=1", "encoder.dropout=0.1")
    launch.train(Path("experiment.yaml"), Path("same"), overrides=given, device="cpu")
    assert Path("exp/model.safetensors").read_bytes() == Path("same/model.safetensors").read_bytes()


def test_a_dry_run_shows_the_number(workspace: Path) -> None:
    assert dry_run.dry_run(Path("experiment.yaml"), AUTO)["max_batch_seconds"] == pytest.approx(1.9)  # the longest row


def test_rows_measured_tell_what_more_rows_will_take(trial: Trial) -> None:
    with trial.ready():
        for kind in LENGTHS:
            found = need(trial, kind)
            predicted = found.fixed + 50 * found.per_row
            assert trial.peak(kind, 50) == pytest.approx(predicted, rel=0.05)


ONE_LARGE_STEP = """
import re
import torch
from pathlib import Path
from asr.bundle.bundle import Bundle
from asr.experiments.batch_size import need
from asr.experiments.memory_limit import held_memory
from asr.experiments.trial import Kind, Trial

trial, kind, rows = Trial(Bundle.load("larger"), torch.device("cpu")), Kind(8.0, 800, 40), 60
with trial.ready():
    found = need(trial, kind)
    before = held_memory(torch.device("cpu"))
    trial.step(kind, rows)
most = int(re.search("VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
print((most - before) / (found.fixed + rows * found.per_row))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells the most a process held")
def test_what_is_measured_on_the_cpu_is_what_a_process_comes_to_hold(trial: Trial) -> None:
    # in a process of its own: this one may have held more for another test, and may have kept it
    told = subprocess.run([sys.executable, "-c", ONE_LARGE_STEP], capture_output=True, text=True, check=True)
    assert 0.75 < float(told.stdout) < 1 / batch_size.MARGIN


def test_twice_the_memory_takes_more_than_twice_the_audio(trial: Trial) -> None:
    held = held_memory(torch.device("cpu"))
    small, large = (memory_seconds(trial, LENGTHS, held + room) for room in (4 * 10**9, 8 * 10**9))
    assert 2.0 < large / small < 3.0  # weights and what the process holds already are taken off once


def test_too_little_memory_for_one_utterance_is_an_error_that_names_its_length(trial: Trial) -> None:
    with pytest.raises(TrainingError, match=r"an utterance of 8\.0 s alone needs"):
        memory_seconds(trial, LENGTHS, 10**6)


def test_a_memory_limit_is_kept_to(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(TrainingError, match=r"0\.1 GB of memory allowed"):
        dry_run.dry_run(Path("experiment.yaml"), (*AUTO, "training.memory_limit_gb=0.1"))


def test_learning_wants_a_hundred_steps_an_epoch_and_no_more_than_twenty_minutes_a_step() -> None:
    assert learning_seconds(3600.0, accumulation=1) == 36.0
    assert learning_seconds(3600.0, accumulation=4) == 9.0
    assert learning_seconds(1e7, accumulation=1) == 1200.0


@pytest.mark.parametrize(("seconds", "rounded"), [(1234.5, 1200.0), (99.9, 99.0), (1.97, 1.9), (0.5, 0.5)])
def test_sizes_are_rounded_down_to_two_digits(seconds: float, rounded: float) -> None:
    assert round_down(seconds) == rounded


@pytest.mark.parametrize("value", ["0", "-3", "all", "true", ".inf"])
def test_another_size_than_a_positive_number_or_auto_is_refused(value: str, workspace: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.max_batch_seconds: a number of seconds above 0 is needed, or auto"):
        load_experiment(Path("experiment.yaml"), [f"data.max_batch_seconds={value}"])


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def limits(root: Path, membership: str) -> Iterator[int]:
    write(root / "membership", membership)
    return cgroup_limits(root / "cgroup", root / "membership")


def test_limits_of_control_groups_are_found_up_to_the_root(tmp_path: Path) -> None:
    write(tmp_path / "cgroup" / "memory.max", "9000\n")
    write(tmp_path / "cgroup" / "job" / "memory.max", "max\n")
    write(tmp_path / "cgroup" / "job" / "step" / "memory.max", "5000\n")
    assert set(limits(tmp_path, "0::/job/step\n")) == {9000, 5000}


def test_limits_of_old_control_groups_are_found(tmp_path: Path) -> None:
    write(tmp_path / "cgroup" / "memory" / "docker" / "memory.limit_in_bytes", "7000\n")
    assert set(limits(tmp_path, "5:cpu:/docker\n4:memory:/docker\n")) == {7000}


def test_the_limit_of_the_cpu_is_below_the_memory_there_is() -> None:
    physical = next(
        int(line.split()[1]) * 1024
        for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("MemTotal")
    )
    assert 0 < memory_limit(torch.device("cpu")) <= physical / 2
