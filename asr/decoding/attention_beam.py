"""Attention beam search: the texts that the decoder, and what else scores texts, find most likely."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from asr.decoding.base import SEARCHES, Heads, Prompt, Temperatures, TokenFilter, require_decoder
from asr.decoding.fusion import NO_FUSION, Fusion
from asr.decoding.label_beam import LabelBeam, LabelBeamConfig
from asr.decoding.whole import WholeSearch
from asr.types import EncoderOutput, Hypothesis


class AttentionBeamConfig(LabelBeamConfig):
    """Settings of the attention beam search.

    A decoder finds short texts too likely, and the wider the beam, the more of them the search meets. The last two
    settings work against it; see `LabelBeam`.
    """

    name: Literal["attention_beam"] = "attention_beam"
    length_normalisation: float = Field(0.6, ge=0.0)  # exponent of a finished text's length that divides its score
    eos_threshold: float | None = Field(2.0, ge=1.0)  # near 1 a text ends only where eos is the best token
    temperatures: Temperatures = None  # of draws, rising, for texts that cannot be trusted
    seed: int = 0  # of draws with these temperatures

    @classmethod
    def tiny(cls) -> AttentionBeamConfig:
        return cls(beam=3, length_normalisation=1.0, eos_threshold=1.2)


@SEARCHES.register(AttentionBeamConfig)
class AttentionBeam(WholeSearch):
    """Beam search over the decoder and the fusion, once an utterance is whole; see `LabelBeam`.

    Up to `beam` hypotheses per utterance; attention cannot tell where a token starts.
    """

    needs: ClassVar = frozenset({"decoder"})

    def __init__(
        self,
        config: AttentionBeamConfig,
        heads: Heads,
        fusion: Fusion = NO_FUSION,
        filters: Sequence[TokenFilter] = (),
    ) -> None:
        decoder = require_decoder(config.name, heads)
        self.vocabulary = decoder.vocabulary
        self._beam = LabelBeam(
            config,
            decoder,
            fusion,
            filters,
            eos_threshold=config.eos_threshold,
            length_normalisation=config.length_normalisation,
        )

    def decode(self, encoded: EncoderOutput, prompts: Sequence[Prompt]) -> list[list[Hypothesis]]:
        """See `WholeSearch`."""
        return self._beam.search(encoded, prompts)
