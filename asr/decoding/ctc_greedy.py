"""Greedy CTC search: the best token of every frame, repeats merged, blanks dropped."""

from __future__ import annotations

from typing import Literal

import torch

from asr.decoding.base import SEARCHES, SearchModel, require_ctc
from asr.decoding.fusion import NO_FUSION, Fusion
from asr.lengths import padding_mask
from asr.registry import NamedConfig
from asr.text.vocabulary import BLANK
from asr.types import EncoderOutput, Hypothesis


class CtcGreedyConfig(NamedConfig):
    """Greedy CTC search has no settings."""

    name: Literal["ctc_greedy"] = "ctc_greedy"


@SEARCHES.register(CtcGreedyConfig)
class CtcGreedy:
    """Collapses the single best path; the score is the log-probability of that path, not of the text."""

    def __init__(self, config: CtcGreedyConfig, model: SearchModel, fusion: Fusion = NO_FUSION) -> None:
        fusion.refuse(config.name)
        require_ctc(config.name, model)
        self.model = model

    def search(self, encoded: EncoderOutput) -> list[list[Hypothesis]]:
        """One hypothesis per utterance, with the frames of each token."""
        best, path = self.model.ctc_log_probs(encoded).max(-1)
        padding = padding_mask(encoded.lens, path.shape[1])
        starts = (path != BLANK) & ~padding
        starts[:, 1:] &= path[:, 1:] != path[:, :-1]
        # Summed in float64, so that the length of the padding cannot show in the last digits.
        scores = best.masked_fill(padding, 0.0).sum(-1, dtype=torch.float64).tolist()
        stops = (path != BLANK) & ~padding
        stops[:, :-1] &= (path[:, :-1] != path[:, 1:]) | padding[:, 1:]
        rows, frames = starts.nonzero(as_tuple=True)
        tokens = path[rows, frames].tolist()
        spans = list(zip(frames.tolist(), (stops.nonzero(as_tuple=True)[1] + 1).tolist(), strict=True))
        ends = starts.sum(-1).cumsum(0).tolist()
        return [
            [Hypothesis(tuple(tokens[begin:end]), score, {"ctc": score}, tuple(spans[begin:end]))]
            for begin, end, score in zip([0, *ends], ends, scores, strict=False)
        ]
