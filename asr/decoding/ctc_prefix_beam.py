"""CTC prefix beam search, with a language model and hotwords if wanted.

Hannun et al. 2014, "First-pass large vocabulary continuous speech recognition using bi-directional recurrent DNNs",
algorithm 1. A prefix is a text; its score is the probability of all paths that spell it so far. After every frame the
best prefixes are kept: each as it was (a blank, or its last token again) or longer by a token. With an unbounded beam
and no thresholds the scores are exact: log p(text | audio) of CTC.

A token that is new after a prefix gets the paths, too, on which it began a frame earlier, where it was not tried or not
kept: the first frame of a token is often below the threshold, and without it texts are put in the wrong order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from asr.decoding.base import SEARCHES, Heads, Prompt, Search, SearchState, TokenFilter, require_ctc
from asr.decoding.fusion import NO_FUSION, BeamConfig, FusedScorer, Fusion
from asr.decoding.prefix.compiled import CompiledPrefixBeam, why_not_compiled
from asr.decoding.prefix.settings import PrefixBeamSettings
from asr.decoding.prefix.tensor import TensorPrefixBeam
from asr.decoding.prompts import refuse_prompts
from asr.errors import ConfigError
from asr.lengths import padding_mask
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


@dataclass(frozen=True)
class PrefixBeamState(SearchState):
    """The beams of B utterances, in the form of the kernel that works on them."""

    kernel: CompiledPrefixBeam | TensorPrefixBeam
    beams: Any
    unreadable: Tensor  # (B,) bool, whether there was a frame where no token had a probability

    def select(self, index: Tensor) -> PrefixBeamState:
        """See `SearchState`."""
        return replace(self, beams=self.beams.select(index), unreadable=self.unreadable[index])

    @staticmethod
    def join(states: Sequence[PrefixBeamState]) -> PrefixBeamState:
        """See `SearchState`."""
        beams = states[0].beams.join([state.beams for state in states])
        return replace(states[0], beams=beams, unreadable=torch.cat([state.unreadable for state in states]))


@SEARCHES.register(CtcPrefixBeamConfig)
class CtcPrefixBeam(Search[PrefixBeamState]):
    """N-best lists of up to `beam` texts, with parts "ctc", "length" and those of the fusion.

    Where tokens start is left to forced alignment.
    """

    needs: ClassVar = frozenset({"ctc"})

    def __init__(
        self,
        config: CtcPrefixBeamConfig,
        heads: Heads,
        fusion: Fusion = NO_FUSION,
        filters: Sequence[TokenFilter] = (),  # rules for decoders
    ) -> None:
        """ConfigError if the model has no CTC head, or if the compiled kernel is asked for where it cannot run."""
        self._ctc = require_ctc(config.name, heads)
        self.vocabulary = self._ctc.vocabulary
        self._name = config.name
        self._parts = ("ctc", *FusedScorer(fusion, config.lm_weight, self.vocabulary).names, "length")
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
        use_tensor = reason or config.kernel == "tensor"
        self._tensor = TensorPrefixBeam(settings, fusion, self.vocabulary)
        self._compiled = None if use_tensor else CompiledPrefixBeam(settings, fusion, self.vocabulary)

    def start(
        self, rows: int, prompts: Sequence[Prompt | None] | None = None, device: torch.device | str = "cpu"
    ) -> PrefixBeamState:
        """See `Search`."""
        refuse_prompts(self._name, prompts)
        device = torch.device(device)
        kernel = self._compiled if self._compiled is not None and device.type == "cpu" else self._tensor
        unreadable = torch.zeros(rows, dtype=torch.bool, device=device)
        return PrefixBeamState(kernel, kernel.start(rows, device), unreadable)

    def advance(self, state: PrefixBeamState, encoded: EncoderOutput) -> PrefixBeamState:
        """See `Search`."""
        log_probs = self._ctc.log_probs(encoded)
        padding = padding_mask(encoded.lens, log_probs.shape[1])
        unreadable = state.unreadable | ~(log_probs.amax(-1).isfinite() | padding).all(1)
        lens = encoded.lens.masked_fill(unreadable, 0)
        return replace(state, beams=state.kernel.advance(state.beams, log_probs, lens), unreadable=unreadable)

    def partial(self, state: PrefixBeamState) -> list[tuple[int, ...]]:
        """See `Search`; what the end of the sentence would add does not count yet."""
        pairs = zip(state.kernel.partial(state.beams), state.unreadable.tolist(), strict=True)
        return [() if unreadable else tokens for tokens, unreadable in pairs]

    def finish(self, state: PrefixBeamState) -> list[list[Hypothesis]]:
        """See `Search`."""
        nothing = Hypothesis((), 0.0, dict.fromkeys(self._parts, 0.0))
        pairs = zip(state.kernel.finish(state.beams), state.unreadable.tolist(), strict=True)
        return [[nothing] if unreadable or not n_best else n_best for n_best, unreadable in pairs]
