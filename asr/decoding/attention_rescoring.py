"""Attention rescoring: CTC prefix beam search finds the texts, the decoder has a say in which of them is best.

The second pass of Zhang et al. 2020, "Unified streaming and non-streaming two-pass end-to-end model for speech
recognition". The decoder reads all hypotheses of a batch at once instead of token by token.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from asr.decoding.base import SEARCHES, SearchModel, build_search, require_ctc, require_decoder
from asr.decoding.ctc_prefix_beam import CtcPrefixBeamConfig
from asr.decoding.fusion import NO_FUSION, BeamConfig, Fusion
from asr.lengths import pad_stack, padding_mask
from asr.text.vocabulary import EOS
from asr.types import EncoderOutput, Hypothesis


class AttentionRescoringConfig(BeamConfig):
    """Settings of both passes. The first one weighs CTC with 1, the second one as said here."""

    name: Literal["attention_rescoring"] = "attention_rescoring"
    ctc_weight: float = Field(0.3, ge=0.0, le=1.0)  # of CTC; the decoder has the rest

    @classmethod
    def tiny(cls) -> AttentionRescoringConfig:
        return cls(beam=4)


@SEARCHES.register(AttentionRescoringConfig)
class AttentionRescoring:
    """N-best lists of ctc_prefix_beam in a new order; the fusion and the length count as in the first pass."""

    def __init__(self, config: AttentionRescoringConfig, model: SearchModel, fusion: Fusion = NO_FUSION) -> None:
        require_ctc(config.name, model)
        self._decoder = require_decoder(config.name, model)
        self._ctc_weight = config.ctc_weight
        shared = {name: getattr(config, name) for name in BeamConfig.model_fields if name != "name"}
        self._first_pass = build_search(CtcPrefixBeamConfig(**shared), model, fusion)

    def search(self, encoded: EncoderOutput) -> list[list[Hypothesis]]:
        """Up to `beam` hypotheses per utterance."""
        n_bests = self._first_pass.search(encoded)
        audible = encoded.lens.tolist()
        rows = [row for row, n_best in enumerate(n_bests) for _ in n_best if audible[row]]
        tokens = [torch.tensor(one.tokens) for row, n_best in enumerate(n_bests) for one in n_best if audible[row]]
        attention = iter(self._attention_scores(encoded, rows, tokens))
        return [
            sorted(
                (self._rescore(one, next(attention) if frames else 0.0) for one in n_best),
                key=lambda one: one.score,
                reverse=True,
            )
            for n_best, frames in zip(n_bests, audible, strict=True)
        ]

    def _attention_scores(self, encoded: EncoderOutput, rows: list[int], sentences: list[Tensor]) -> list[float]:
        """Log-probability of every sentence and its EOS, given the utterance of its row."""
        if not rows:
            return []
        device = encoded.frames.device
        tokens, lens = (padded.to(device) for padded in pad_stack([sentence.long() for sentence in sentences]))
        log_probs = self._decoder(EncoderOutput(encoded.frames[rows], encoded.lens[rows]), tokens, lens)
        targets = F.pad(tokens, (0, 1)).masked_fill(padding_mask(lens, tokens.shape[1] + 1), EOS)
        scores = log_probs.double().gather(2, targets[..., None]).squeeze(2)
        totals: list[float] = scores.masked_fill(padding_mask(lens + 1, scores.shape[1]), 0.0).sum(1).tolist()
        return totals

    def _rescore(self, hypothesis: Hypothesis, attention: float) -> Hypothesis:
        others = {name: part for name, part in hypothesis.parts.items() if name != "ctc"}
        ctc = self._ctc_weight * hypothesis.parts["ctc"]
        parts = {"ctc": ctc, "attention": (1.0 - self._ctc_weight) * attention, **others}
        return replace(hypothesis, score=sum(parts.values()), parts=parts)
