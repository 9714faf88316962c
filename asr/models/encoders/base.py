"""What every encoder promises, and the registry they are filed under."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from pydantic import Field, PositiveInt
from torch import Tensor, nn

from asr.lengths import padding_mask
from asr.nn.attention import attention_mask
from asr.nn.subsampling import Subsampling, SubsamplingConfig
from asr.registry import NamedConfig, Registry
from asr.types import EncoderOutput

Intermediate = Callable[[int, Tensor, list[Tensor]], Tensor]
"""Called after each layer with its index from 1, the frames and the list that collects log-probabilities; returns the
frames for the next layer."""


class BaseEncoderConfig(NamedConfig):
    """What all encoders can be told."""

    subsampling: SubsamplingConfig = SubsamplingConfig()
    dim: PositiveInt = 144
    num_layers: PositiveInt = 8
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0)


class Encoder(nn.Module, ABC):
    """Features (B, T, F) -> frames (B, S, D), with the same frames for an utterance in whatever batch it comes.

    Padding of features may hold anything.
    """

    def __init__(self, config: BaseEncoderConfig, num_features: int) -> None:
        super().__init__()
        self.num_layers = config.num_layers
        self.output_dim = config.dim
        self.subsampling = Subsampling(config.subsampling, num_features, config.dim)

    @property
    def subsampling_factor(self) -> int:
        """Feature frames for each encoder frame."""
        return self.subsampling.factor

    def output_lens(self, lens: Tensor) -> Tensor:
        """Encoder frames made of `lens` feature frames; none of none."""
        return self.subsampling.output_lens(lens)

    @abstractmethod
    def forward(
        self, features: Tensor, feature_lens: Tensor, intermediate: Intermediate | None = None
    ) -> EncoderOutput:
        """Encode a padded batch; a row of length 0 is legal and yields no valid frames."""


class FrameMasks:
    """The masks all layers of one forward pass share; both None when every frame of the batch is valid.

    `padding` (B, S) is True at padding; `attention` (B, 1, 1, S) is True where attention may look.
    """

    def __init__(self, lens: Tensor, num_frames: int) -> None:
        self.padding: Tensor | None = None
        self.attention: Tensor | None = None
        # elsewhere the question would make the host wait for the device
        if lens.device.type != "cpu" or bool((lens < num_frames).any()):
            self.padding = padding_mask(lens, num_frames)
            self.attention = attention_mask(lens, num_frames)


ENCODERS: Registry[type[Encoder]] = Registry("encoder")
