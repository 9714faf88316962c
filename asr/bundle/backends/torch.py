"""Runs a model with torch, on the device that its weights are on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from asr.decoding.base import Heads
from asr.features import Frontend
from asr.lengths import pad_stack
from asr.models.asr_model import AsrModel
from asr.models.encoders.streaming import StreamState
from asr.types import EncoderOutput

SHAPE_SECONDS = 0.64  # rows are as long as a multiple of it: kernels are compiled for each shape, and kept


@dataclass(frozen=True)
class TorchBackend:
    """See `Backend`. With another `dtype` than float32, encoder, heads and searches run under autocast to it."""

    frontend: Frontend
    model: AsrModel
    dtype: torch.dtype = torch.float32

    @property
    def heads(self) -> Heads:
        """See `Backend`."""
        return self.model.heads

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    def encode(self, waveforms: Tensor, lens: Tensor) -> EncoderOutput:
        """See `Backend`."""
        device = self.device
        with self.running():
            if device.type != "cpu" or not self.model.encoder.has_long_rows:
                return self.model.encode(*self.frontend(waveforms.to(device), lens.to(device)))
            return self._encode_rows(waveforms, lens)

    def _encode_rows(self, waveforms: Tensor, lens: Tensor) -> EncoderOutput:
        """One row after the other: what is computed stays in the caches, and no padding is."""
        step = round(SHAPE_SECONDS * self.frontend.config.sample_rate)
        rows = []
        for row, length in enumerate(lens.tolist()):
            longest = max(1, -(-length // step)) * step
            encoded = self.model.encode(*self.frontend(waveforms[row : row + 1, :longest], lens[row : row + 1]))
            rows.append(encoded.frames[0, : int(encoded.lens)])
        frames, frame_lens = pad_stack(rows)
        return EncoderOutput(frames, frame_lens)

    @property
    def streams(self) -> bool:
        """See `StreamingBackend`."""
        return self.model.streaming_encoder is not None

    def start_streams(self, rows: int, chunk_frames: int, left_chunks: int | None, right: int | None) -> StreamState:
        """See `StreamingBackend`."""
        encoder = self.model.streaming_encoder
        assert encoder is not None
        return encoder.init_state(rows, chunk_frames, left_chunks, right)

    def encode_step(
        self, features: Tensor, lens: Tensor, state: StreamState, is_last: Sequence[bool]
    ) -> tuple[EncoderOutput, StreamState]:
        """See `StreamingBackend`."""
        with self.running():
            return self.model.encode_step(features, lens, state, is_last)

    def running(self) -> AbstractContextManager[None]:
        """See `Backend`."""
        return inference(self.device, self.dtype)


@contextmanager
def inference(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Without gradients and, for another `dtype` than float32, under autocast to it.

    Entered for each batch: a mode left open across a yield would govern the caller's code too.
    """
    with torch.inference_mode(), torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32):
        yield
