"""CTC prefix beam search, with a language model and hotwords if wanted.

Hannun et al. 2014, "First-pass large vocabulary continuous speech recognition using bi-directional recurrent DNNs",
algorithm 1. A prefix is a text; its score is the probability of all paths that spell it so far. After every frame the
best prefixes are kept: each as it was (a blank, or its last token again) or longer by a token. With an unbounded beam
and no thresholds the scores are exact: log p(text | audio) of CTC.
"""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from asr.decoding.base import SEARCHES, SearchModel, require_ctc
from asr.decoding.fusion import NO_FUSION, BeamConfig, Fusion
from asr.decoding.prefix.compiled import CompiledPrefixBeam, why_not_compiled
from asr.decoding.prefix.settings import PrefixBeamSettings
from asr.decoding.prefix.tensor import TensorPrefixBeam
from asr.errors import ConfigError
from asr.types import EncoderOutput, Hypothesis


class CtcPrefixBeamConfig(BeamConfig):
    """Settings of the CTC prefix beam search; thresholds are natural logarithms, null for none.

    `kernel: compiled` is numba, an utterance a thread, for n-grams and hotwords on CPU; `auto` takes it where it can.
    """

    name: Literal["ctc_prefix_beam"] = "ctc_prefix_beam"
    token_threshold: float | None = Field(-8.0, lt=0.0)  # a less probable token is not tried in a frame
    beam_threshold: float | None = Field(-14.0, lt=0.0)  # a hypothesis so far below the best of a frame is dropped
    kernel: Literal["auto", "compiled", "tensor"] = "auto"  # both give the same answers

    @classmethod
    def tiny(cls) -> CtcPrefixBeamConfig:
        return cls(beam=4, token_threshold=None, beam_threshold=None)


@SEARCHES.register(CtcPrefixBeamConfig)
class CtcPrefixBeam:
    """N-best lists of up to `beam` texts, with parts "ctc", "length" and those of the fusion."""

    def __init__(self, config: CtcPrefixBeamConfig, model: SearchModel, fusion: Fusion = NO_FUSION) -> None:
        """ConfigError if the model has no CTC head, or if the compiled kernel is asked for where it cannot run."""
        require_ctc(config.name, model)
        self.model = model
        settings = PrefixBeamSettings(
            config.beam,
            config.lm_weight,
            config.length_bonus,
            -math.inf if config.token_threshold is None else config.token_threshold,
            -math.inf if config.beam_threshold is None else config.beam_threshold,
        )
        reason = why_not_compiled(fusion)
        if config.kernel == "compiled" and reason:
            raise ConfigError(f"search.kernel: compiled cannot run: {reason}; use auto")
        self._tensor = TensorPrefixBeam(settings, fusion)
        self._compiled = None if reason or config.kernel == "tensor" else CompiledPrefixBeam(settings, fusion)

    def search(self, encoded: EncoderOutput) -> list[list[Hypothesis]]:
        """N-best lists, best first; where tokens start is left to forced alignment."""
        log_probs = self.model.ctc_log_probs(encoded)
        on_cpu = log_probs.device.type == "cpu"
        kernel = self._compiled if self._compiled is not None and on_cpu else self._tensor
        return kernel.search(log_probs, encoded.lens)
