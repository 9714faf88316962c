"""One optimiser step: the gradients of all batches on all ranks, added up, and the update.

The host never waits for a GPU here. Whether all is finite is decided on the device, where the update is left out if
not, and the outcome of a step stays there until it is read. On the CPU it is the same code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Generic

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from asr.config import TrainingConfig
from asr.optim.averaging import Ema
from asr.optim.optimizers import Optimizer
from asr.system.runtime import derive_seed
from asr.training.distributed import World
from asr.training.memory import Parts, is_out_of_memory
from asr.training.task import AnyBatch, NamedRows, StepDraws, Task


@dataclass
class OwnShare:
    """This rank's part of a step."""

    # (3 + number of `Task.loss_parts`,) float64: the loss, pieces whose loss is not finite or that did not fit, batches
    # cut into pieces, then each part of the loss
    sums: Tensor
    parts: dict[int, Parts]  # of batches that did not fit into memory, by their number
    ids: list[tuple[str, ...]] = field(default_factory=list)
    losses: list[Tensor] = field(default_factory=list)  # (B,) for each of `ids`

    def culprits(self) -> list[str]:
        """The utterances whose loss is not finite."""
        return [
            id
            for ids, losses in zip(self.ids, self.losses, strict=True)
            for id, is_finite in zip(ids, torch.isfinite(losses).tolist(), strict=True)
            if not is_finite
        ]


@dataclass(frozen=True)
class StepOutcome:
    """The outcome of a step; its tensors are on the device."""

    step: int  # steps before it
    count: int  # utterances or tokens of all ranks
    own: OwnShare  # its `sums` are those of all ranks by now
    norm: Tensor  # () of the gradient before clipping
    is_skipped: Tensor  # () float32, 1 where the weights were left alone

    def numbers(self) -> Tensor:
        """Float64, the same on all ranks: the sums of `OwnShare`, the norm, and 1 if the step was skipped."""
        return torch.cat([self.own.sums, torch.stack([self.norm.double(), self.is_skipped.double()])])


class Stepper(Generic[AnyBatch]):
    """Takes the steps of a run: `replay` says which batches to cut at once, as they were cut in another run."""

    def __init__(
        self,
        task: Task[AnyBatch],
        config: TrainingConfig,
        seed: int,
        optimizer: Optimizer,
        ema: Ema | None,
        world: World,
        replay: Sequence[dict[str, Any]] = (),
    ) -> None:
        self.task = task
        self.config = config
        self.seed = seed
        self.optimizer = optimizer
        self.ema = ema
        self.world = world
        self.model = task.model
        self.device = next(self.model.parameters()).device
        self._replay = [entry for entry in replay if entry["rank"] == world.rank]

    def take(self, step: int, batches: Sequence[AnyBatch], count: int) -> StepOutcome:
        """Step number `step` with this rank's share of its batches; `count` is of all ranks. All ranks call it."""
        own = self._gradients(step, batches, count)
        self._add_up(own.sums)
        norm = clip_grad_norm_(self.model.parameters(), self.config.max_grad_norm)
        is_skipped = ((own.sums[1] > 0) | ~torch.isfinite(norm)).float()
        self.optimizer.step_unless(is_skipped)
        if self.ema is not None:
            self.ema.update(self.model, is_skipped)
        return StepOutcome(step, count, own, norm, is_skipped)

    def _add_up(self, sums: Tensor) -> None:
        """Sum gradients and `sums` over all ranks."""
        parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        if self.world.size > 1:
            for parameter in parameters:
                if parameter.grad is None:  # this rank had no rows
                    parameter.grad = torch.zeros_like(parameter)
        self.world.all_reduce_([*(parameter.grad for parameter in parameters if parameter.grad is not None), sums])

    # Without the other ranks

    def _gradients(self, step: int, batches: Sequence[AnyBatch], count: int) -> OwnShare:
        """Forward and backward of this rank's batches; from the start again, in smaller parts, when memory is short."""
        parts = {entry["batch"]: Parts.from_json(entry) for entry in self._replay if entry["step"] == step}
        while True:
            self.optimizer.zero_grad(set_to_none=True)
            num_sums = 3 + len(self.task.loss_parts)
            own = OwnShare(torch.zeros(num_sums, dtype=torch.float64, device=self.device), parts)
            too_large = self._accumulate(own, step, batches, count)
            if too_large is None:
                own.sums[2] = len(parts)
                return own
            number, start = too_large
            parts.setdefault(number, Parts([self.task.num_utterances(batches[number])])).shrink(start)
            del own
            if self.device.type == "cuda":
                torch.cuda.empty_cache()  # it may be there, in pieces too small for what was asked for

    def _accumulate(self, own: OwnShare, step: int, batches: Sequence[AnyBatch], count: int) -> tuple[int, int] | None:
        """Add batches to gradients and `own`. Returns a batch, and its first utterance, that did not fit, or None."""
        draws = StepDraws(self.seed, step)
        for number, batch in enumerate(batches):
            if not batch.ids:
                continue
            cut = own.parts.get(number) or Parts([self.task.num_utterances(batch)])
            pieces = [batch] if len(cut.sizes) == 1 else self.task.split(batch, cut.sizes)
            for start, piece in zip(cut.starts(), pieces, strict=True):
                if start in cut.left_out:
                    _leave_out(piece, own)
                    continue
                torch.manual_seed(self._dropout_seed(step, number, start))
                try:
                    self._backward(piece, draws, own, count)
                except RuntimeError as error:
                    if not is_out_of_memory(error):
                        raise
                    return number, start  # what the error holds is freed with it, before anything is tried again
        return None

    def _backward(self, batch: AnyBatch, draws: StepDraws, own: OwnShare, count: int) -> None:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.dtype == "bfloat16"):
            output = self.task.loss(batch, draws)
        (output.total / count).backward()
        total = output.total.detach()
        own.sums[0] += total
        own.sums[1] += ~torch.isfinite(total)
        for place, name in enumerate(self.task.loss_parts, 3):
            own.sums[place] += output.parts[name]
        own.ids.append(batch.ids)
        own.losses.append(output.per_utterance)

    def _dropout_seed(self, step: int, number: int, start: int) -> int:
        """One for each step, batch, part and rank; for the start of a batch on rank 0, that of a run with one rank."""
        part = ("from", start) if start else ()
        rank = ("rank", self.world.rank) if self.world.rank else ()
        return derive_seed(self.seed, "step", step, number, *part, *rank)


def _leave_out(batch: NamedRows, own: OwnShare) -> None:
    """An utterance that does not even fit alone is treated as one without a finite loss."""
    own.sums[1] += 1
    own.ids.append(batch.ids)
    own.losses.append(torch.full((len(batch.ids),), torch.nan))
