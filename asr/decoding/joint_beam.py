"""Joint CTC/attention search in one pass (Watanabe et al. 2017, "Hybrid CTC/attention architecture for end-to-end
speech recognition"): CTC keeps the decoder from skipping and repeating, the decoder knows what texts look like.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from asr.decoding.base import SEARCHES, SearchModel, require_ctc, require_decoder
from asr.decoding.fusion import NO_FUSION, Fusion
from asr.decoding.label_beam import LabelBeam, LabelBeamConfig
from asr.types import EncoderOutput, Hypothesis


class JointBeamConfig(LabelBeamConfig):
    """Settings of the joint search."""

    name: Literal["joint_beam"] = "joint_beam"
    ctc_weight: float = Field(0.3, ge=0.0, le=1.0)  # of CTC; the decoder has the rest

    @classmethod
    def tiny(cls) -> JointBeamConfig:
        return cls(beam=3, length_bonus=1.0)


@SEARCHES.register(JointBeamConfig)
class JointBeam:
    """Beam search over CTC prefix scores, the decoder and the fusion; see `LabelBeam`."""

    def __init__(self, config: JointBeamConfig, model: SearchModel, fusion: Fusion = NO_FUSION) -> None:
        require_ctc(config.name, model)
        self._model = model
        self._beam = LabelBeam(config, require_decoder(config.name, model), fusion, ctc_weight=config.ctc_weight)

    def search(self, encoded: EncoderOutput) -> list[list[Hypothesis]]:
        """Up to `beam` hypotheses per utterance."""
        return self._beam.search(encoded, self._model.ctc_log_probs(encoded))
