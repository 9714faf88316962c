"""The acoustic model: an encoder with a CTC head, an attention decoder or both. Losses stand outside."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from pydantic import model_validator
from torch import Tensor, nn

from asr.errors import ConfigError
from asr.models.ctc_head import CtcHead, IntermediateCtc, IntermediateCtcConfig
from asr.models.decoders import DECODERS, Decoder, DecoderConfig
from asr.models.encoders import ENCODERS, Encoder, EncoderConfig
from asr.models.encoders.conformer import ConformerConfig
from asr.registry import Config
from asr.types import Batch, EncoderOutput, ModelOutput


class ModelConfig(Config):
    """The parts of a model; input and vocabulary size come from the front-end and the tokenizer."""

    encoder: EncoderConfig = ConformerConfig()
    decoder: DecoderConfig | None = None
    ctc: bool = True
    intermediate_ctc: IntermediateCtcConfig | None = None

    @model_validator(mode="after")
    def _fits(self) -> ModelConfig:
        if not self.ctc and self.decoder is None:
            raise ValueError("a model needs an output: set ctc: true, a decoder, or both")
        if not self.ctc and self.intermediate_ctc is not None:
            raise ValueError("intermediate_ctc shares the CTC head: set ctc: true")
        return self


class AsrModel(nn.Module):
    """Features in, everything a loss or a search needs out."""

    def __init__(
        self,
        encoder: Encoder,
        ctc_head: CtcHead | None = None,
        decoder: Decoder[Any] | None = None,
        intermediate_ctc: IntermediateCtc | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.ctc_head = ctc_head
        self.decoder = decoder
        self.intermediate_ctc = intermediate_ctc

    @property
    def subsampling_factor(self) -> int:
        """Feature frames for each encoder frame."""
        return self.encoder.subsampling_factor

    def output_lens(self, lens: Tensor) -> Tensor:
        """Encoder frames made of `lens` feature frames."""
        return self.encoder.output_lens(lens)

    def encode(self, features: Tensor, feature_lens: Tensor) -> EncoderOutput:
        """Features (B, T, F) -> encoder frames (B, S, D), and log-probabilities of intermediate CTC if there is any."""
        collected: list[Tensor] = []
        intermediate = self.intermediate_ctc
        tap = intermediate and partial(intermediate, collected=collected, head=self.ctc_head)
        encoded: EncoderOutput = self.encoder(features, feature_lens, tap)
        return replace(encoded, intermediate=tuple(collected))

    def ctc_log_probs(self, encoded: EncoderOutput) -> Tensor:
        """Log-probabilities (B, S, V); ConfigError when the model has no CTC head."""
        if self.ctc_head is None:
            raise ConfigError("this model has no CTC head; use an attention search, or train with ctc: true")
        log_probs: Tensor = self.ctc_head(encoded.frames)
        return log_probs

    def forward(self, batch: Batch) -> ModelOutput:
        """Everything the model can say about a batch; the decoder is fed the batch's tokens."""
        encoded = self.encode(batch.features, batch.feature_lens)
        decoder = self.decoder
        return ModelOutput(
            encoder=encoded,
            ctc_log_probs=self.ctc_log_probs(encoded) if self.ctc_head is not None else None,
            decoder_log_probs=decoder(encoded, batch.tokens, batch.token_lens) if decoder is not None else None,
            host_lens=self.output_lens(batch.readable_lens[0]),
        )


def build_model(config: ModelConfig, num_features: int, vocab_size: int) -> AsrModel:
    """A freshly initialised model, from torch's default generator; ConfigError when its parts do not fit."""
    encoder = ENCODERS.part(config.encoder.name)(config.encoder, num_features)
    dim = encoder.output_dim
    intermediate = config.intermediate_ctc
    if intermediate is not None and not set(intermediate.layers) <= set(range(1, encoder.num_layers)):
        raise ConfigError(
            f"intermediate_ctc.layers {list(intermediate.layers)} must lie in 1..{encoder.num_layers - 1}: "
            f"the encoder has {encoder.num_layers} layers and the last has the final CTC"
        )
    return AsrModel(
        encoder,
        CtcHead(dim, vocab_size) if config.ctc else None,
        DECODERS.part(config.decoder.name)(config.decoder, dim, vocab_size) if config.decoder is not None else None,
        IntermediateCtc(intermediate, dim, vocab_size) if intermediate is not None else None,
    )
