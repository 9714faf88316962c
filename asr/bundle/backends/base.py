"""What decoding asks of whatever runs a model."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from asr.decoding.base import Heads
from asr.models.encoders.streaming import StreamState
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


@runtime_checkable
class StreamingBackend(Backend, Protocol):
    """A backend that may run encoders over audio which is still coming in."""

    @property
    def device(self) -> torch.device:
        """Where frames are, and states of searches have to be."""
        ...

    @property
    def streams(self) -> bool:
        """Whether this model's encoder does; without it the others are not to be called."""
        ...

    def start_streams(self, rows: int, chunk_frames: int, left_chunks: int | None, right: int | None) -> StreamState:
        """See `StreamingEncoder.init_state`."""
        ...

    def encode_step(
        self, features: Tensor, lens: Tensor, state: StreamState, is_last: Sequence[bool]
    ) -> tuple[EncoderOutput, StreamState]:
        """See `StreamingEncoder.step`."""
        ...
