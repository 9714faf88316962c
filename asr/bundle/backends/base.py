"""What decoding asks of whatever runs a model."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from torch import Tensor

from asr.decoding.base import Heads
from asr.types import EncoderOutput


class Backend(Protocol):
    """Runs front-end, encoder and heads of one model."""

    @property
    def heads(self) -> Heads:
        """The model's heads by id, as searches and alignment use them; only inside `running`."""
        ...

    def encode(self, waveforms: Tensor, lens: Tensor) -> EncoderOutput:
        """Waveforms (B, N) float32 and lens (B,), on the CPU, through front-end and encoder; on the backend's device.

        An utterance's frames must not depend on the others or on the padding.
        """
        ...

    def running(self) -> AbstractContextManager[None]:
        """Entered around each use of the heads: precision and gradients are as this backend wants them."""
        ...
