"""Steps that do not fit into memory are done in parts, and come to the same."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn

from asr.config import TrainingConfig
from asr.errors import TrainingError
from asr.experiments.asr_task import AsrTask
from asr.optim.optimizers.adamw import AdamW, AdamWConfig
from asr.system.display import Display
from asr.training.checkpoint import CheckpointFolder
from asr.training.memory import Parts, is_out_of_memory
from asr.training.metrics import AUDIO_SECONDS, WER
from asr.training.task import LossOutput, StepDraws
from asr.training.trainer import Trainer
from asr.types import Unreadable

MESSAGES = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:128] . DefaultCPUAllocator: can't allocate memory: you tried to ..."),
]


@dataclass(frozen=True)
class Rows:
    """Numbers with names."""

    ids: tuple[str, ...]
    values: torch.Tensor
    unreadable: tuple[Unreadable, ...] = ()


class SmallMachine:
    """A sum of squares in float64 on a machine that holds `capacity` rows at a time, and never the row `huge`."""

    metric, other_metrics, unit, item, loss_parts, waited_seconds = WER, (), AUDIO_SECONDS, "utterance", (), 0.0

    def __init__(self, sizes: list[int], capacity: int, error: RuntimeError = MESSAGES[0], huge: str = "") -> None:
        torch.manual_seed(0)
        self.model = nn.Linear(3, 1).double()
        values = torch.randn(sum(sizes), 3, dtype=torch.float64)
        names = [f"u{number}" for number in range(len(values))]
        ends = torch.tensor(sizes).cumsum(0).tolist()
        self.data = [
            Rows(tuple(names[end - size : end]), values[end - size : end])
            for size, end in zip(sizes, ends, strict=True)
        ]
        self.capacity, self.error, self.huge = capacity, error, huge
        self.asked: list[int] = []  # rows of each call

    def batches(self, epoch: int, start: int) -> list[Rows]:
        return self.data[start:]

    def num_batches(self, epoch: int) -> int:
        return len(self.data)

    def loss(self, batch: Rows, draws: StepDraws) -> LossOutput:
        self.asked.append(len(batch.ids))
        losses = self.model(batch.values).square().sum(1)
        if len(batch.ids) > self.capacity or self.huge in batch.ids:
            losses.sum().backward()  # leaves gradients behind, as a backward that fails half-way does
            raise self.error
        return LossOutput(losses.sum(), losses.detach())

    def count(self, batch: Rows) -> int:
        return len(batch.ids)

    num_utterances = count

    def amount(self, batch: Rows) -> float:
        return 1.0

    def split(self, batch: Rows, sizes: list[int]) -> list[Rows]:
        ids, values = iter(batch.ids), batch.values.split(sizes)
        return [Rows(tuple(next(ids) for _ in range(size)), part) for size, part in zip(sizes, values, strict=True)]

    def validate(self) -> dict[str, float]:
        return {"wer": 0.5}

    def keep(self, weights: dict[str, torch.Tensor]) -> None:
        pass


def trainer_for(task: SmallMachine, folder: Path, **settings: object) -> Trainer:
    config = TrainingConfig.model_validate({"epochs": 1, "average_num": 1, "accumulation": 2, **settings})
    optimizer = AdamW(AdamWConfig(lr=0.1), task.model)
    return Trainer(task, config, 1, optimizer, lambda _step: 1.0, CheckpointFolder(folder), Display())


@pytest.mark.parametrize("error", MESSAGES)
def test_a_step_too_large_for_the_memory_is_done_in_halves_with_the_same_gradient(
    error: RuntimeError, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, small = SmallMachine([2, 7], capacity=99), SmallMachine([2, 7], capacity=2, error=error)
    trainer_for(whole, tmp_path / "whole").run()
    assert capsys.readouterr().err.count("warning") == 0
    progress = trainer_for(small, tmp_path / "small").run()
    for one, other in zip(whole.model.parameters(), small.model.parameters(), strict=True):
        torch.testing.assert_close(other.grad, one.grad, rtol=1e-12, atol=0)
    cut = {"step": 0, "rank": 0, "batch": 1, "parts": [2, 2, 2, 1], "left_out": []}
    assert progress.halved_steps == [cut]
    assert progress.skipped == 0
    assert capsys.readouterr().err.count("batch 1 of rank 0 as 2 + 2 + 2 + 1 utterances") == 1
    log = [json.loads(line) for line in (tmp_path / "small" / "train.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [record for record in log if record["kind"] == "halved"] == [{"kind": "halved", "epoch": 1, **cut}]


def test_a_record_of_cut_batches_makes_another_run_cut_them_at_once(tmp_path: Path) -> None:
    first, again = SmallMachine([2, 7], capacity=2), SmallMachine([2, 7], capacity=2)
    halved = trainer_for(first, tmp_path / "first").run().halved_steps
    progress = trainer_for(again, tmp_path / "again").run(replay_halved=json.loads(json.dumps(halved)))
    assert again.asked == [2, 2, 2, 2, 1]
    assert progress.halved_steps == halved
    for one, other in zip(first.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_an_utterance_too_large_by_itself_is_named_and_its_step_skipped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = SmallMachine([2, 4], capacity=99, huge="u4")
    weights: list[torch.Tensor] = []
    trainer = trainer_for(task, tmp_path, accumulation=1)
    trainer.on_step = lambda trainer: weights.append(trainer.model.weight.detach().clone())
    progress = trainer.run()
    assert progress.skipped == 1
    assert progress.halved_steps[0]["left_out"] == [2]
    assert torch.equal(*weights)
    assert "step 1 skipped, loss or gradient is not finite: u4\n" in capsys.readouterr().err


def test_other_errors_of_torch_end_the_run(tmp_path: Path) -> None:
    task = SmallMachine([4], capacity=1, error=RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="shapes cannot"):
        trainer_for(task, tmp_path).run()


def test_memory_that_this_machine_does_not_have_is_what_torch_complains_about() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


def test_what_people_are_told_of_steps_read_late_is_what_they_are_told_at_once(tmp_path: Path) -> None:
    logs = []
    for device in ("cpu", "cuda"):
        task = SmallMachine([2] * 12, capacity=1)
        task.data[2].values[1] = torch.nan
        task.data[9].values[0] = torch.inf
        trainer = trainer_for(task, tmp_path / device, accumulation=1, log_every=4, ema_decay=0.5, checkpoint_every=5)
        trainer.device = torch.device(device)  # whether the host may read after every step hangs on nothing else
        progress = trainer.run()
        lines = (tmp_path / device / "train.jsonl").read_text(encoding="utf-8").splitlines()
        records = [json.loads(line) for line in lines]
        logs.append([[r.get(key) for key in ("kind", "step", "ids", "loss", "grad_norm")] for r in records])
        assert progress.skipped == 2
    assert sorted(logs[0], key=str) == sorted(logs[1], key=str)


def test_too_many_skipped_steps_end_a_run_that_reads_late_too(tmp_path: Path) -> None:
    task = SmallMachine([1] * 9, capacity=9)
    for batch in task.data:
        batch.values.fill_(torch.nan)
    trainer = trainer_for(task, tmp_path, accumulation=1, log_every=4, max_skipped_in_a_row=3)
    trainer.device = torch.device("cuda")
    with pytest.raises(TrainingError, match="3 steps in a row"):
        trainer.run()
    assert trainer.progress.step == 4


def test_halves_are_cut_until_they_are_single_utterances() -> None:
    parts = Parts([5])
    for start in (0, 0, 0, 0, 3):
        parts.shrink(start)
    assert (parts.sizes, parts.starts(), parts.left_out) == ([1, 1, 1, 1, 1], [0, 1, 2, 3, 4], [0])


def test_views_of_an_utterance_stay_together_in_a_part(batch_of_views: tuple[AsrTask, object]) -> None:
    task, batch = batch_of_views
    assert task.num_utterances(batch) == 3
    first, second = task.split(batch, [2, 1])
    assert first.ids == ("a", "b", "a", "b")
    assert second.ids == ("c", "c")
    assert torch.equal(first.features, batch.features[[0, 1, 3, 4]])
    assert torch.equal(second.token_lens, batch.token_lens[[2, 5]])
    whole = task.loss(batch, StepDraws(1, 0))
    parts = [task.loss(part, StepDraws(1, 0)) for part in (first, second)]
    torch.testing.assert_close(sum(part.total for part in parts), whole.total, rtol=1e-4, atol=0)


@pytest.fixture
def batch_of_views(workspace: Path) -> tuple[AsrTask, object]:
    """A task trained on pairs of views, in evaluation mode, and a batch of three utterances."""
    from asr.config import load_experiment
    from asr.experiments.prepare import prepare
    from asr.types import Batch

    config = load_experiment(Path("experiment.yaml"), ["loss.consistency_weight=0.2"])
    task = AsrTask(prepare(config, lambda _: None), Path("out"), torch.device("cpu"))
    task.model.eval()
    lens = torch.tensor([96, 80, 64, 96, 80, 64])
    tokens = torch.randint(4, 10, (6, 7))
    batch = Batch(("a", "b", "c") * 2, torch.randn(6, 96, 80), lens, tokens, torch.tensor([7, 3, 5] * 2), num_views=2)
    return task, batch
