"""The acoustic model: an encoder and the heads that stand on it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import cast

from torch import Tensor, nn

from asr.errors import ConfigError
from asr.losses.weights import LossConfig
from asr.models.encoders import ENCODERS, Encoder, EncoderConfig
from asr.models.encoders.base import Tap
from asr.models.encoders.streaming import StreamingEncoder, StreamState
from asr.models.heads import HEADS, Head
from asr.models.heads.base import NamedHeadConfig
from asr.models.heads.ctc import CtcHeadConfig, IntermediateCtc, IntermediateCtcConfig
from asr.nn.chunks import Chunkings
from asr.text.vocabulary import Vocabulary
from asr.types import Batch, EncoderOutput


class AsrModel(nn.Module):
    """Features in; what a search needs, or the losses of all heads, out.

    At most one head has CTC between encoder layers: that of `intermediate`, which is kept here and not in the head,
    since it sees the encoder from inside.
    """

    def __init__(
        self, encoder: Encoder, heads: Iterable[Head], intermediate: Mapping[str, IntermediateCtc] | None = None
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.heads = nn.ModuleDict({head.id: head for head in heads})
        self.intermediate = nn.ModuleDict(dict(intermediate or {}))

    def loss_names(self, config: LossConfig) -> list[str]:
        """What `forward` returns, as `<head>` and `<head>.<name>`."""
        return [
            f"{id}.{name}" if name else id
            for id, head in self.heads.items()
            for name in cast("Head", head).loss_names(config, has_intermediate=id in self.intermediate)
        ]

    @property
    def subsampling_factor(self) -> int:
        """Feature frames for each encoder frame."""
        return self.encoder.subsampling_factor

    def output_lens(self, lens: Tensor) -> Tensor:
        """Encoder frames made of `lens` feature frames."""
        return self.encoder.output_lens(lens)

    def encode(self, features: Tensor, feature_lens: Tensor, chunks: Chunkings | None = None) -> EncoderOutput:
        """Features (B, T, F) -> encoder frames (B, S, D), and log-probabilities of intermediate CTC if there is any.

        With `chunks`, which a `StreamingEncoder` understands, frames see no more than they would in a stream.
        """
        collected: list[Tensor] = []
        limits = {} if chunks is None else {"chunks": chunks}
        encoded: EncoderOutput = self.encoder(features, feature_lens, self._tap(collected), **limits)
        return replace(encoded, intermediate=tuple(collected))

    @property
    def streaming_encoder(self) -> StreamingEncoder | None:
        """The encoder, if it can encode audio that is still coming in."""
        return self.encoder if isinstance(self.encoder, StreamingEncoder) and self.encoder.streams else None

    def encode_step(
        self, features: Tensor, lens: Tensor, state: StreamState, is_last: Sequence[bool]
    ) -> tuple[EncoderOutput, StreamState]:
        """`StreamingEncoder.step`, with CTC between the layers where the model has it."""
        assert isinstance(self.encoder, StreamingEncoder)
        return self.encoder.step(features, lens, state, is_last, self._tap([]))

    def _tap(self, collected: list[Tensor]) -> Tap | None:
        """Shows the frames between the layers to the intermediate CTC; `collected` gets its log-probabilities."""

        def tap(index: int, frames: Tensor) -> Tensor:
            for id, layer in self.intermediate.items():
                frames = layer(index, frames, collected, self.heads[id])
            return frames

        return tap if len(self.intermediate) else None

    def forward(
        self, batch: Batch, config: LossConfig, chunks: Chunkings | None = None
    ) -> dict[str, dict[str, Tensor]]:
        """Unweighted losses (B,) of a batch by head and name; see `Head.losses`."""
        encoded = self.encode(batch.features, batch.feature_lens, chunks)
        encoded = replace(encoded, host_lens=self.output_lens(batch.readable_lens[0]))
        return {id: cast("Head", head).losses(encoded, batch, config) for id, head in self.heads.items()}


def build_model(
    encoder: EncoderConfig,
    heads: Sequence[NamedHeadConfig],
    num_features: int,
    vocabularies: Mapping[str, Vocabulary],
) -> AsrModel:
    """A freshly initialised model, from torch's default generator; ConfigError when its parts do not fit.

    `vocabularies` are those of the tokenizers that the heads name.
    """
    network = ENCODERS.part(encoder.name)(encoder, num_features)
    built = [HEADS.part(head.name)(head, network.output_dim, _vocabulary(head, vocabularies)) for head in heads]
    intermediate = {
        head.head_id: _build_intermediate(head.intermediate, network, _vocabulary(head, vocabularies))
        for head in heads
        if isinstance(head, CtcHeadConfig) and head.intermediate is not None
    }
    return AsrModel(network, built, intermediate)


def _vocabulary(head: NamedHeadConfig, vocabularies: Mapping[str, Vocabulary]) -> Vocabulary:
    if head.tokenizer not in vocabularies:
        known = ", ".join(sorted(vocabularies))
        raise ConfigError(f"head '{head.head_id}' names tokenizer '{head.tokenizer}'; the model has: {known}")
    return vocabularies[head.tokenizer]


def _build_intermediate(config: IntermediateCtcConfig, encoder: Encoder, vocabulary: Vocabulary) -> IntermediateCtc:
    if not set(config.layers) <= set(range(1, encoder.num_layers)):
        raise ConfigError(
            f"intermediate.layers {list(config.layers)} of the CTC head must lie in 1..{encoder.num_layers - 1}: "
            f"the encoder has {encoder.num_layers} layers and the last has the final CTC"
        )
    return IntermediateCtc(config, encoder.output_dim, vocabulary)
