"""Joint CTC/attention search in one pass (Watanabe et al. 2017, "Hybrid CTC/attention architecture for end-to-end
speech recognition"): CTC keeps the decoder from skipping and repeating, the decoder knows what texts look like.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from asr.decoding.base import SEARCHES, Heads, Prompt, TokenFilter, require_both
from asr.decoding.fusion import NO_FUSION, Fusion
from asr.decoding.label_beam import LabelBeam, LabelBeamConfig
from asr.decoding.whole import WholeSearch
from asr.types import EncoderOutput, Hypothesis


class JointBeamConfig(LabelBeamConfig):
    """Settings of the joint search."""

    name: Literal["joint_beam"] = "joint_beam"
    ctc_weight: float = Field(0.3, ge=0.0, le=1.0)  # of CTC; the decoder has the rest

    @classmethod
    def tiny(cls) -> JointBeamConfig:
        return cls(beam=3, length_bonus=1.0)


@SEARCHES.register(JointBeamConfig)
class JointBeam(WholeSearch):
    """Beam search over CTC prefix scores, the decoder and the fusion, once an utterance is whole; see `LabelBeam`.

    Up to `beam` hypotheses per utterance.
    """

    needs: ClassVar = frozenset({"ctc", "decoder"})

    def __init__(
        self, config: JointBeamConfig, heads: Heads, fusion: Fusion = NO_FUSION, filters: Sequence[TokenFilter] = ()
    ) -> None:
        self._ctc, decoder = require_both(config.name, heads)
        self.vocabulary = decoder.vocabulary
        self._beam = LabelBeam(config, decoder, fusion, filters, ctc_weight=config.ctc_weight)

    def decode(self, encoded: EncoderOutput, prompts: Sequence[Prompt]) -> list[list[Hypothesis]]:
        """See `WholeSearch`."""
        return self._beam.search(encoded, prompts, self._ctc.log_probs(encoded))
