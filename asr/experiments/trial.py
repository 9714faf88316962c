"""Steps on batches made up for the purpose: what they take is known before anything is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from asr.bundle.bundle import Bundle
from asr.data.dataset import collate
from asr.experiments.loss import batch_loss
from asr.experiments.profile import new_profiler
from asr.training.memory import is_out_of_memory
from asr.types import Example


@dataclass(frozen=True)
class Kind:
    """Utterances of one length."""

    seconds: float
    num_frames: int  # feature frames
    num_tokens: int


class Trial:
    """Steps of the model to be trained, on batches made up for the purpose."""

    def __init__(self, bundle: Bundle, device: torch.device) -> None:
        config = bundle.experiment
        self.device = device
        self._model = bundle.model
        self._num_features = bundle.frontend.num_features
        vocabulary = bundle.tokenizer.vocabulary
        self._token = max(set(range(len(vocabulary))) - vocabulary.control)
        self._loss = config.loss
        self._in_bfloat16 = config.training.dtype == "bfloat16"
        numbers = sum(parameter.numel() for parameter in self._model.parameters())
        copies = config.optimizer.state_per_weight + (1 if config.training.ema_decay else 0)
        self.optimizer_bytes = 4 * numbers * copies

    @contextmanager
    def ready(self) -> Iterator[None]:
        """The model on the device and in training mode meanwhile; nothing random is used up."""
        was_training, home = self._model.training, next(self._model.parameters()).device
        self._model.to(self.device).train()
        try:
            with torch.random.fork_rng():
                yield
        finally:
            self._model.to(home).train(was_training)

    def fits(self, kind: Kind, rows: int) -> bool:
        """Whether a real step of that size ends well, with as much memory taken as the optimiser will take."""
        try:
            taken = torch.empty(self.optimizer_bytes, dtype=torch.uint8, device=self.device)
            self.step(kind, max(1, rows))
            del taken
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            return False
        finally:
            self._model.zero_grad(set_to_none=True)
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
        return True

    def peak(self, kind: Kind, rows: int) -> int:
        """Bytes held at the worst moment of a step, beyond those held before."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            before = torch.cuda.memory_allocated(self.device)
            self.step(kind, rows)
            return torch.cuda.max_memory_allocated(self.device) - before
        with new_profiler(self.device) as recorder:
            self.step(kind, rows)
        results = recorder.profiler
        assert results is not None
        changes = [(event.start_ns(), event.nbytes()) for event in results.kineto_results.events()
                   if event.name() == "[memory]"]  # fmt: skip
        return int(np.cumsum([change for _, change in sorted(changes, key=lambda moment: moment[0])]).max())

    def step(self, kind: Kind, rows: int) -> None:
        """Forward and backward pass of a batch; gradients are thrown away."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._in_bfloat16):
            loss = self.loss(kind, rows)
        loss.backward()
        self._model.zero_grad(set_to_none=True)

    def loss(self, kind: Kind, rows: int) -> Tensor:
        """The loss () of a batch of so many rows; one is a frame shorter, as real batches need masks for padding."""
        features = torch.zeros(kind.num_frames, self._num_features)
        tokens = torch.full((kind.num_tokens,), self._token, dtype=torch.int64)
        examples = [Example(f"row{row}", features[: -1 if row else None], tokens) for row in range(rows)]
        num_views = self._loss.num_views
        batch = replace(collate(examples * num_views), num_views=num_views).to(self.device)
        total: Tensor = batch_loss(self._model, batch, self._loss).total
        return total

    def odd_loss(self) -> Tensor:
        """The loss () of a small batch with sizes that no model has: compilers take equal sizes for the same."""
        return self.loss(Kind(seconds=4.48, num_frames=448, num_tokens=87), rows=3)
