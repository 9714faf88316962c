"""What a run survives, and how: full disks, damaged files, NaN, read-only folders, a second run beside it."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from asr.bundle.tensors import load_tensors, save_tensors
from asr.cli.main import main
from asr.errors import AsrError, BundleError, TrainingError
from asr.experiments import asr_task, launch
from asr.training.checkpoint import CheckpointFolder, Progress
from asr.training.trainer import Trainer
from tests import warm

SETTINGS = (
    "training.epochs=3",
    "training.checkpoint_every=1",
    "training.log_every=1",
    "training.average_num=2",
    "optimizer.lr=0.001",
    "data.max_batch_seconds=2.5",  # batches of one or two utterances
)


OnStep = Callable[[Trainer], None]


def nothing(_trainer: Trainer) -> None:
    pass


def train(
    out: str, *, resume: bool = False, settings: tuple[str, ...] = SETTINGS, on_step: OnStep = nothing
) -> Progress:
    return launch.train(
        Path("experiment.yaml"), Path(out), overrides=settings, resume=resume, device="cpu", on_step=on_step
    )


def weights(out: str) -> bytes:
    return Path(out, "model.safetensors").read_bytes()


def records(out: str, kind: str) -> list[dict[str, Any]]:
    lines = Path(out, "training/train.jsonl").read_text(encoding="utf-8").splitlines()
    return [record for record in map(json.loads, lines) if record["kind"] == kind]


class Killed(BaseException):
    """Stands for a process that ends without a chance to do anything."""


def at_step(step: int, act: OnStep) -> OnStep:
    """Calls `act` right after an optimiser step."""
    return lambda trainer: act(trainer) if trainer.progress.step == step else None


def die(_trainer: Trainer) -> None:
    raise Killed


@pytest.fixture(scope="module")
def whole(tiny_workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The weights of a run that nothing happened to."""
    folder = tmp_path_factory.mktemp("whole") / "workspace"
    shutil.copytree(tiny_workspace, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        train("whole")
        return weights("whole")


# Disks


@pytest.mark.parametrize("file", ["state.safetensors", "progress.json", "0001.safetensors", "model.safetensors"])
def test_a_full_disk_ends_the_run_with_one_line_and_resuming_gives_the_same_weights(
    file: str, whole: bytes, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = Path.replace

    def full(self: Path, target: Path) -> Path:
        if Path(target).name == file and list(Path("cut/training/checkpoints").glob("0*")):
            raise OSError(errno.ENOSPC, "No space left on device")
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(AsrError, match=r"cannot write \(No space left on device\)"):
            train("cut")
    train("cut", resume=True)
    assert weights("cut") == whole


def test_a_disk_too_small_for_a_checkpoint_keeps_the_one_before(whole: bytes, workspace: Path) -> None:
    """With a real limit of the operating system on the size of files, in a process of its own."""
    script = (
        "import resource, signal, sys; from pathlib import Path\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from asr.experiments import launch\n"
        "def fill(trainer):\n"
        "    if trainer.progress.step == 3: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "launch.train(Path('experiment.yaml'), Path('cut'),\n"
        f"          overrides={SETTINGS!r}, device='cpu', threads=1, on_step=fill)\n"
    )
    ended = warm.run("-c", script)
    assert "cannot write (File too large)" in ended.stderr
    loaded = CheckpointFolder(Path("cut/training")).load_newest()
    assert loaded is not None
    assert (loaded[0].step, loaded[2]) == (2, [])
    train("cut", resume=True)
    assert weights("cut") == whole


def test_a_folder_that_cannot_be_written_to_is_refused_before_anything_is_prepared(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mkdir = Path.mkdir

    def read_only(self: Path, *args: Any, **kwargs: Any) -> None:
        if self.name == "out":
            raise OSError(errno.EROFS, "Read-only file system")
        mkdir(self, *args, **kwargs)

    monkeypatch.setattr(Path, "mkdir", read_only)
    monkeypatch.setattr(asr_task, "prepare", pytest.fail)
    with pytest.raises(TrainingError, match=r"out: cannot write there \(Read-only file system\); choose another"):
        train("out")


def test_what_killed_runs_left_half_written_is_cleared_away(whole: bytes, workspace: Path) -> None:
    with pytest.raises(Killed):
        train("cut", on_step=at_step(3, die))
    for leftover in ("cut/.model.safetensors.123.tmp", "cut/training/checkpoints/.partial/.state.safetensors.9.tmp"):
        Path(leftover).parent.mkdir(exist_ok=True)
        Path(leftover).write_bytes(bytes(1000))
    train("cut", resume=True)
    left = [str(path) for path in Path("cut").rglob(".*")]
    assert left == []
    assert weights("cut") == whole


# Two at once


def test_a_second_run_into_the_same_folder_is_refused(workspace: Path) -> None:
    said: list[str] = []

    def start_another(_trainer: Trainer) -> None:
        ended = warm.run("-m", "asr", "train", "experiment.yaml", "--out", "cut", "--resume")
        said.append(f"{ended.returncode} {ended.stderr}")

    train("cut", on_step=at_step(1, start_another))
    assert said == ["1 error: cut: another process is training into it; wait, or choose another --out\n"]


def test_a_run_that_fails_before_it_begins_leaves_no_folder(workspace: Path) -> None:
    Path("train.jsonl").write_text("", encoding="utf-8")
    with pytest.raises(AsrError):
        train("never")
    assert not Path("never").exists()


# Damage


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip_a_bit(path: Path) -> None:
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 4
    path.write_bytes(damaged)


@pytest.mark.parametrize("file", ["state.safetensors", "progress.json"])
@pytest.mark.parametrize("damage", [cut_short, empty, flip_a_bit, Path.unlink])
def test_whatever_happened_to_the_newest_checkpoint_the_one_before_is_loaded_and_a_warning_names_it(
    damage: Callable[[Path], None], file: str, tmp_path: Path
) -> None:
    checkpoints = CheckpointFolder(tmp_path)
    for step in (2, 4):
        checkpoints.save(Progress(step=step), {"model.x": torch.full((900,), float(step))})
    newest = tmp_path / "checkpoints/00000004"
    damage(newest / file)
    loaded = checkpoints.load_newest()
    assert loaded is not None
    progress, tensors, (warning,) = loaded
    assert progress.step == tensors["model.x"][0] == 2
    assert warning.startswith(f"{newest}: damaged")
    assert warning.endswith("falling back to the checkpoint before it")


def test_a_run_whose_newest_checkpoint_has_a_flipped_bit_ends_with_the_same_weights(
    whole: bytes, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Killed):
        train("cut", on_step=at_step(5, die))
    newest = sorted(Path("cut/training/checkpoints").iterdir())[-1]
    flip_a_bit(newest / "state.safetensors")
    train("cut", resume=True)
    assert f"warning: {newest}: damaged" in capsys.readouterr().err
    assert weights("cut") == whole


def test_without_any_good_checkpoint_the_run_does_not_start_over_silently(tmp_path: Path) -> None:
    checkpoints = CheckpointFolder(tmp_path)
    checkpoints.save(Progress(step=2), {"model.x": torch.zeros(9)})
    flip_a_bit(tmp_path / "checkpoints/00000002/state.safetensors")
    with pytest.raises(TrainingError, match="no checkpoint is good, train again"):
        checkpoints.load_newest()


def test_a_checkpoint_that_was_fallen_back_from_does_not_push_out_a_good_one(tmp_path: Path) -> None:
    checkpoints = CheckpointFolder(tmp_path)
    for step in (2, 4):
        checkpoints.save(Progress(step=step), {"model.x": torch.full((9,), float(step))})
    flip_a_bit(tmp_path / "checkpoints/00000004/state.safetensors")
    checkpoints.save(Progress(step=3), {"model.x": torch.full((9,), 3.0)})
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["00000002", "00000003"]


def test_no_flipped_bit_of_a_file_of_weights_changes_a_value_unnoticed(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    tensors = {"a": torch.randn(40), "b.c": torch.arange(9), "d": torch.zeros(()), "e": torch.ones(3).bfloat16()}
    save_tensors(path, tensors)
    whole, found = path.read_bytes(), 0
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        try:
            loaded = load_tensors(path)
        except BundleError:
            found += 1
            continue
        torch.testing.assert_close(loaded, tensors, rtol=0, atol=0)  # it was in what only describes the file
    assert found > 0.95 * len(whole)


# NaN


def poison(trainer: Trainer) -> None:
    with torch.no_grad():
        next(trainer.model.parameters())[0] = torch.nan


def test_weights_that_became_nan_are_not_saved_and_the_run_goes_on_from_good_ones(
    whole: bytes, workspace: Path
) -> None:
    with pytest.raises(TrainingError, match=r"step 4: 'model\..* holds NaN or infinity, so it is not saved"):
        train("cut", on_step=at_step(4, poison))
    loaded = CheckpointFolder(Path("cut/training")).load_newest()
    assert loaded is not None
    assert loaded[0].step == 3
    train("cut", resume=True)
    assert weights("cut") == whole


def test_a_checkpoint_with_nan_is_not_gone_on_from(tmp_path: Path) -> None:
    checkpoints = CheckpointFolder(tmp_path)
    for step in (2, 4):
        checkpoints.save(Progress(step=step), {"model.x": torch.zeros(9)})
    save_tensors(tmp_path / "checkpoints/00000004/state.safetensors", {"model.x": torch.tensor([0.0, torch.nan])})
    loaded = checkpoints.load_newest()
    assert loaded is not None
    assert loaded[0].step == 2
    assert "tensor 'model.x' holds NaN" in loaded[2][0]


def test_a_model_with_nan_is_refused_to_start_from(workspace: Path) -> None:
    path = Path("model/model.safetensors")
    tensors = load_tensors(path)
    tensors[min(tensors)].view(-1)[0] = torch.inf
    save_tensors(path, tensors)
    with pytest.raises(BundleError, match="holds NaN or infinity"):
        train("never", settings=(*SETTINGS, "init_from=model"))


# Audio


def test_audio_that_breaks_during_a_run_is_left_out_named_and_counted(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    progress = train("out", on_step=at_step(4, lambda _trainer: Path("audio/2.wav").write_bytes(b"no audio at all")))
    warning = next(line for line in capsys.readouterr().err.splitlines() if "goes without" in line)
    assert "utterance 'u2'" in warning
    assert "audio/2.wav" in warning
    assert "asr data check" in warning
    told = [id for record in records("out", "unreadable") for id in record["ids"]]
    assert told == ["u2"] * progress.unreadable
    assert progress.unreadable == records("out", "epoch")[-1]["unreadable"] >= 1
    assert progress.epoch == 3


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_run_killed_after_audio_broke_resumes_to_the_same_weights(num_workers: int, workspace: Path) -> None:
    settings = (*SETTINGS, f"data.num_workers={num_workers}", "training.accumulation=2")
    Path("audio/2.wav").write_bytes(b"no audio at all")
    train("whole", settings=settings)
    with pytest.raises(Killed):
        train("cut", settings=settings, on_step=at_step(3, die))
    train("cut", resume=True, settings=settings)
    assert weights("cut") == weights("whole")
    assert records("cut", "unreadable") == records("whole", "unreadable") != []


def test_a_run_whose_audio_is_all_gone_ends_after_a_few_steps(workspace: Path) -> None:
    lose_audio = at_step(3, lambda _trainer: shutil.rmtree("audio"))
    settings = (*SETTINGS, "training.max_skipped_in_a_row=2", "training.epochs=9")
    with pytest.raises(TrainingError, match=r"2 steps in a row were skipped, the last because no audio could be read"):
        train("out", settings=settings, on_step=lose_audio)
    assert [record["ids"] for record in records("out", "skipped")] == [[], []]


def test_dev_audio_that_cannot_be_read_counts_as_not_recognised(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("audio/4.wav").write_bytes(b"no audio at all")
    train("out", settings=("training.epochs=1",))
    assert "warning: counted as not recognised: dev utterance 'u4'" in capsys.readouterr().err
    assert records("out", "epoch")[0]["wer"] >= 1 / 4  # "zero", of four words


def test_other_data_than_the_run_began_with_is_refused(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train("out")
    rows = Path("train.jsonl").read_text(encoding="utf-8").splitlines()
    Path("train.jsonl").write_text("\n".join(rows[:-1]) + "\n", encoding="utf-8")
    words = [part for setting in SETTINGS for part in ("--set", setting)]
    with pytest.raises(SystemExit) as leaving:
        main(["train", "experiment.yaml", "--out", "out", "--resume", "--device", "cpu", *words])
    assert leaving.value.code == 1
    assert "the run began with other data (hash" in capsys.readouterr().err
