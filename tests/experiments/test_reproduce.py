"""A run is repeated from its folder alone, and the repetition is checked to the last bit."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from asr.bundle.tensors import load_tensors, save_tensors
from asr.cli.main import main
from asr.errors import TrainingError
from asr.experiments import launch
from asr.experiments.average import average_epochs
from asr.experiments.lm_task import LANGUAGE_MODEL
from asr.experiments.reproduce import first_difference, reproduce
from asr.training.trainer import InterruptedRunError, Trainer

SETTINGS = (
    "training.epochs=2",
    "training.checkpoint_every=1",
    "training.average_num=2",
    "training.dtype=auto",
    "optimizer.lr=0.001",
    "data.max_batch_seconds=2.5",
    "augment={gain_db: [-6, 6]}",
    "encoder.dropout=0.1",
)


def nothing(_trainer: Trainer) -> None:
    pass


def train(out: str, *settings: str, resume: bool = False, on_step: Callable[[Trainer], None] = nothing) -> None:
    overrides = (*SETTINGS, *settings)
    launch.train(Path("experiment.yaml"), Path(out), overrides=overrides, resume=resume, device="cpu", on_step=on_step)


def command(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[object, str]:
    """Exit status and what was said."""
    with pytest.raises(SystemExit) as leaving:
        main(["train", *words])
    return leaving.value.code, capsys.readouterr().err


def change(folder: str, **environment: object) -> None:
    """Put something else on record."""
    path = Path(folder, "config.yaml")
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    config["provenance"]["environment"] |= environment
    path.write_text(yaml.safe_dump(config), encoding="utf-8")


def stop_at(step: int) -> Callable[[Trainer], None]:
    def stop(trainer: Trainer) -> None:
        if trainer.progress.step == step:
            raise InterruptedRunError("stopped")

    return stop


def test_a_run_that_was_stopped_and_started_from_a_model_and_spliced_is_repeated_bit_for_bit(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [row.replace("{", '{"speaker": "s", ', 1) for row in Path("train.jsonl").read_text().splitlines()]
    Path("train.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    settings = ("init_from=model", "splice={pieces: train.jsonl, probability: 0.5}")
    with pytest.raises(InterruptedRunError):
        train("first", *settings, on_step=stop_at(3))
    train("first", *settings, resume=True)
    shutil.rmtree("first/training")  # it is not needed
    status, said = command(capsys, "--reproduce", "first", "--out", "second")
    assert said.splitlines()[-1] == "reproduced: the weights of second are those of first to the last bit"
    assert "warning" not in said
    assert status == 0
    assert Path("second/model.safetensors").read_bytes() == Path("first/model.safetensors").read_bytes()
    assert yaml.safe_load(Path("second/config.yaml").read_text())["provenance"]["command"] == (
        "asr train --reproduce first --out second --device cpu --threads 1"
    )


def test_a_repetition_that_was_stopped_goes_on(workspace: Path) -> None:
    train("first")
    with pytest.raises(InterruptedRunError):
        reproduce(Path("first"), Path("second"), on_step=stop_at(2))
    assert reproduce(Path("first"), Path("second"), resume=True)


def test_a_language_model_is_repeated_too(workspace: Path) -> None:
    launch.train(Path("lm.yaml"), Path("lm"), kind=LANGUAGE_MODEL, device="cpu")
    assert reproduce(Path("lm"), Path("again"))


def test_weights_that_differ_are_told_and_so_is_what_may_be_the_cause(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train("first")
    path = Path("first/model.safetensors")
    tensors = load_tensors(path)
    changed = min(tensors)
    tensors[changed].view(-1)[0] += 0.5
    save_tensors(path, tensors)
    change("first", torch="1.0")
    status, said = command(capsys, "--reproduce", "first", "--out", "second")
    cause = f"torch 1.0 -> {torch.__version__}"
    assert f"warning: the weights may come out other than those of first: {cause}\n" in said
    assert said.splitlines()[-1].startswith("not reproduced: second/model.safetensors differs from first/")
    assert f"due to {cause}: '{changed}' has 1 of " in said
    assert status == 1


def test_other_data_is_refused_and_both_hashes_are_named(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train("first")
    hashes = yaml.safe_load(Path("first/config.yaml").read_text())["provenance"]["data_hash"]
    text = Path("dev.jsonl").read_text(encoding="utf-8")
    Path("dev.jsonl").write_text(text.replace("zero", "naught"), encoding="utf-8")
    capsys.readouterr()
    status, said = command(capsys, "--reproduce", "first", "--out", "second")
    assert status == 1
    assert len(said.splitlines()) == 1
    assert f"was trained on data with hash {hashes}, but the manifests now have " in said
    assert not Path("second").exists()


def test_a_run_that_has_not_ended_is_refused(workspace: Path) -> None:
    with pytest.raises(InterruptedRunError):
        train("first", on_step=stop_at(3))
    with pytest.raises(TrainingError, match="first: the run has not ended; end it first"):
        reproduce(Path("first"), Path("second"))


def test_averaged_weights_are_no_runs(workspace: Path) -> None:
    average_epochs(Path("model"), Path("mean"), last=1)
    with pytest.raises(TrainingError, match="mean: made by `asr average`"):
        reproduce(Path("mean"), Path("second"))


@pytest.mark.parametrize(
    "words",
    [
        ("experiment.yaml", "--reproduce", "model", "--out", "second"),
        ("--out", "second"),
        ("--reproduce", "model", "--out", "second", "--set", "seed=2"),
        ("--reproduce", "model", "--out", "second", "--dry-run"),
    ],
)
def test_what_would_not_be_a_repetition_is_wrong_usage(
    words: tuple[str, ...], workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(capsys, *words)[0] == 2
    assert not Path("second").exists()


def test_the_first_difference_is_found_by_bits_and_told_in_numbers(tmp_path: Path) -> None:
    tensors = {"a": torch.tensor([0.0, 1.0]), "b": torch.tensor([torch.nan, 2.0])}
    save_tensors(tmp_path / "one", tensors)
    save_tensors(tmp_path / "same", {name: tensor.clone() for name, tensor in tensors.items()})
    save_tensors(tmp_path / "half", {name: tensor.bfloat16() for name, tensor in tensors.items()})
    save_tensors(tmp_path / "zero", tensors | {"a": torch.tensor([-0.0, 1.0])})
    save_tensors(tmp_path / "off", tensors | {"a": torch.tensor([0.25, 1.0])})
    save_tensors(tmp_path / "more", tensors | {"c": torch.zeros(1)})
    save_tensors(tmp_path / "flat", tensors | {"a": torch.zeros(1, 2)})
    assert first_difference(tmp_path / "one", tmp_path / "same") is None
    assert first_difference(tmp_path / "half", tmp_path / "one") is None  # as far as it was stored
    assert first_difference(tmp_path / "one", tmp_path / "zero") is not None
    assert first_difference(tmp_path / "one", tmp_path / "off") == "'a' has 1 of 2 values otherwise, by 2.5e-01 at most"
    assert first_difference(tmp_path / "one", tmp_path / "more") == "only one of them has 'c'"
    assert first_difference(tmp_path / "one", tmp_path / "flat") == "'a' is (2,) there and (1, 2) here"
