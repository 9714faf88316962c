"""What every encoder promises, and the registry they are filed under."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import numpy as np
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from asr.lengths import padding_mask
from asr.nn.attention import attention_mask
from asr.nn.chunks import Chunkings
from asr.nn.kernels import may_hold_padding
from asr.nn.subsampling import SubsamplingConfig
from asr.registry import NamedConfig, Registry
from asr.types import EncoderOutput

Tap = Callable[[int, Tensor], Tensor]
"""Called after each layer with its index from 1 and its frames (B, S, D); returns the frames for the next layer."""


class BaseEncoderConfig(NamedConfig):
    """The settings this toolkit's own encoders share; an encoder of another family may have none of them."""

    subsampling: SubsamplingConfig = SubsamplingConfig()
    dim: PositiveInt = 144
    num_layers: PositiveInt = 8
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0)


class Encoder(nn.Module, ABC):
    """Features (B, T, F) -> frames (B, S, D), with the same frames for an utterance in whatever batch it comes.

    Constructor: (config, num_features). Padding of features may hold anything.
    """

    output_dim: int  # D
    num_layers: int  # how often `tap` is called
    has_long_rows: ClassVar[bool] = False  # each row by itself is work enough for a CPU; a batch only takes memory

    @property
    @abstractmethod
    def subsampling_factor(self) -> int:
        """Feature frames for each encoder frame."""

    @property
    def streams(self) -> bool:
        """Whether it is a `StreamingEncoder` (`asr.models.encoders.streaming`) whose settings let it stream."""
        return False

    def draw_chunks(self, rng: np.random.Generator, num_views: int = 1) -> Chunkings | None:
        """The chunks of each view of one training step, for encoders whose `forward` takes `chunks`; None otherwise."""
        return None

    @abstractmethod
    def output_lens(self, lens: Tensor) -> Tensor:
        """Encoder frames made of `lens` feature frames; none of none."""

    @abstractmethod
    def forward(self, features: Tensor, lens: Tensor, tap: Tap | None = None) -> EncoderOutput:
        """Encode a padded batch of `lens` (B,) feature frames; a row of length 0 is legal and yields no valid frames.

        `tap` sees the frames after each layer, and what it returns goes on to the next (intermediate CTC).
        """


class FrameMasks:
    """The masks all layers of one forward pass share; both None when every frame of the batch is valid.

    `padding` (B, S) is True at padding; `attention` (B, 1, 1, S) is True where attention may look.
    """

    def __init__(self, lens: Tensor, num_frames: int) -> None:
        self.padding: Tensor | None = None
        self.attention: Tensor | None = None
        if may_hold_padding(lens, num_frames):
            self.padding = padding_mask(lens, num_frames)
            self.attention = attention_mask(lens, num_frames)


ENCODERS: Registry[type[Encoder]] = Registry("encoder")
