"""Attention beam search: the texts that the decoder, and what else scores texts, find most likely."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from asr.decoding.base import SEARCHES, SearchModel, require_decoder
from asr.decoding.fusion import NO_FUSION, Fusion
from asr.decoding.label_beam import LabelBeam, LabelBeamConfig
from asr.types import EncoderOutput, Hypothesis


class AttentionBeamConfig(LabelBeamConfig):
    """Settings of the attention beam search.

    A decoder finds short texts too likely, and the wider the beam, the more of them the search meets. The last two
    settings work against it; see `LabelBeam`.
    """

    name: Literal["attention_beam"] = "attention_beam"
    length_normalisation: float = Field(0.6, ge=0.0)  # exponent of a finished text's length that divides its score
    eos_threshold: float | None = Field(2.0, ge=1.0)  # near 1 a text ends only where EOS is the best token

    @classmethod
    def tiny(cls) -> AttentionBeamConfig:
        return cls(beam=3, length_normalisation=1.0, eos_threshold=1.2)


@SEARCHES.register(AttentionBeamConfig)
class AttentionBeam:
    """Beam search over the decoder and the fusion; see `LabelBeam`."""

    def __init__(self, config: AttentionBeamConfig, model: SearchModel, fusion: Fusion = NO_FUSION) -> None:
        self._beam = LabelBeam(
            config,
            require_decoder(config.name, model),
            fusion,
            eos_threshold=config.eos_threshold,
            length_normalisation=config.length_normalisation,
        )

    def search(self, encoded: EncoderOutput) -> list[list[Hypothesis]]:
        """Up to `beam` hypotheses per utterance; attention cannot tell where a token starts."""
        return self._beam.search(encoded)
