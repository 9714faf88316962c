"""Attention rescoring: CTC prefix beam search finds the texts, the decoder helps to say which of them is best.

The second pass of Zhang et al. 2020, "Unified streaming and non-streaming two-pass end-to-end model for speech
recognition". The decoder reads all hypotheses of a batch at once instead of token by token.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from asr.decoding.base import SEARCHES, Heads, Prompt, Search, SearchState, TokenFilter, require_both
from asr.decoding.ctc_prefix_beam import CtcPrefixBeam, CtcPrefixBeamConfig, PrefixBeamState
from asr.decoding.fusion import NO_FUSION, BeamConfig, Fusion
from asr.decoding.prompts import complete_prompts
from asr.decoding.whole import Waiting
from asr.errors import ConfigError
from asr.lengths import pad_stack
from asr.types import EncoderOutput, Hypothesis


class AttentionRescoringConfig(BeamConfig):
    """Settings of both passes. The first one weighs CTC with 1, the second one as set here."""

    name: Literal["attention_rescoring"] = "attention_rescoring"
    ctc_weight: float = Field(0.3, ge=0.0, le=1.0)  # of CTC; the decoder has the rest

    @classmethod
    def tiny(cls) -> AttentionRescoringConfig:
        return cls(beam=4)


@dataclass(frozen=True)
class TwoPasses(SearchState):
    """The beams of the first pass, and the frames that wait for the second one."""

    first: PrefixBeamState
    second: Waiting

    def select(self, index: Tensor) -> TwoPasses:
        """See `SearchState`."""
        return TwoPasses(self.first.select(index), self.second.select(index))

    @staticmethod
    def join(states: Sequence[TwoPasses]) -> TwoPasses:
        """See `SearchState`."""
        first = PrefixBeamState.join([state.first for state in states])
        return TwoPasses(first, Waiting.join([state.second for state in states]))


@SEARCHES.register(AttentionRescoringConfig)
class AttentionRescoring(Search[TwoPasses]):
    """N-best lists of ctc_prefix_beam in a new order; the fusion and the length count as in the first pass.

    `advance` takes the first pass on and collects frames for the decoder, which reads them in `finish`. The filters
    bind the second pass: a text that they forbid leaves the list, and where they forbid all, the answer is empty.
    """

    needs: ClassVar = frozenset({"ctc", "decoder"})

    def __init__(
        self,
        config: AttentionRescoringConfig,
        heads: Heads,
        fusion: Fusion = NO_FUSION,
        filters: Sequence[TokenFilter] = (),
    ) -> None:
        _, self._decoder = require_both(config.name, heads)
        self.vocabulary = self._decoder.vocabulary
        self._filters = tuple(filters)
        self._ctc_weight = config.ctc_weight
        shared = {name: getattr(config, name) for name in BeamConfig.model_fields if name != "name"}
        self._first_pass = CtcPrefixBeam(CtcPrefixBeamConfig(**shared), heads, fusion)

    def start(
        self, rows: int, prompts: Sequence[Prompt | None] | None = None, device: torch.device | str = "cpu"
    ) -> TwoPasses:
        """See `Search`; ConfigError also for a prompt that does not begin with the start of sentence."""
        completed = complete_prompts(rows, prompts, self.vocabulary, self.default_prompt)
        if wrong := [prompt for prompt in completed if prompt[0] != self.vocabulary.sos]:
            raise ConfigError(f"attention_rescoring: prompt {wrong[0]} does not begin with the start of sentence")
        return TwoPasses(self._first_pass.start(rows, device=device), Waiting(completed, torch.device(device)))

    def advance(self, state: TwoPasses, encoded: EncoderOutput) -> TwoPasses:
        """See `Search`."""
        return TwoPasses(self._first_pass.advance(state.first, encoded), state.second.add(encoded))

    def partial(self, state: TwoPasses) -> list[tuple[int, ...]]:
        """The best tokens so far of the first pass."""
        return self._first_pass.partial(state.first)

    def finish(self, state: TwoPasses) -> list[list[Hypothesis]]:
        """Up to `beam` hypotheses per utterance."""
        n_bests = self._first_pass.finish(state.first)
        encoded = state.second.readable()
        frames = encoded.lens.tolist()
        rows = [row for row, n_best in enumerate(n_bests) for _ in n_best if frames[row]]
        texts = [one.tokens for row, n_best in enumerate(n_bests) for one in n_best if frames[row]]
        attention = iter(self._attention_scores(encoded, rows, texts, state.second.prompts))
        return [
            self._reordered([self._rescore(one, next(attention) if lasts else 0.0) for one in n_best])
            for n_best, lasts in zip(n_bests, frames, strict=True)
        ]

    def _attention_scores(
        self, encoded: EncoderOutput, rows: list[int], texts: list[tuple[int, ...]], prompts: Sequence[Prompt]
    ) -> list[float]:
        """Log-probability of every text and eos after its prompt, given the utterance of its row."""
        if not rows:
            return []
        device, eos = encoded.frames.device, self.vocabulary.eos
        whole = [(*prompts[row], *text, eos) for row, text in zip(rows, texts, strict=True)]
        tokens, lens = (padded.to(device) for padded in pad_stack([torch.tensor(sentence) for sentence in whole]))
        prompt_lens = torch.tensor([len(prompts[row]) for row in rows], device=device)
        spoken = EncoderOutput(encoded.frames[rows], encoded.lens[rows])
        log_probs = self._decoder(spoken, tokens[:, 1:-1], lens - 2)  # of the tokens from the second on
        log_probs = self._filtered(log_probs, tokens, prompt_lens, torch.tensor(rows, device=device))
        scores = log_probs.double().gather(2, tokens[:, 1:, None]).squeeze(2)
        places = torch.arange(1, tokens.shape[1], device=device)
        counts = (places >= prompt_lens[:, None]) & (places < lens[:, None])
        totals: list[float] = scores.masked_fill(~counts, 0.0).sum(1).tolist()
        return totals

    def _filtered(self, log_probs: Tensor, tokens: Tensor, prompt_lens: Tensor, rows: Tensor) -> Tensor:
        """Log-probabilities (N, U - 1, V) of tokens (N, U) from the second on, as the filters leave them."""
        if not self._filters:
            return log_probs
        columns = []
        for place, column in enumerate(log_probs.unbind(1), start=1):
            for rule in self._filters:
                column = rule(column, tokens[:, :place], prompt_lens, rows)
            columns.append(column)
        return torch.stack(columns, dim=1)

    def _rescore(self, hypothesis: Hypothesis, attention: float) -> Hypothesis:
        others = {name: part for name, part in hypothesis.parts.items() if name != "ctc"}
        ctc = self._ctc_weight * hypothesis.parts["ctc"]
        parts = {"ctc": ctc, "attention": (1.0 - self._ctc_weight) * attention, **others}
        return replace(hypothesis, score=sum(parts.values()), parts=parts)

    def _reordered(self, n_best: list[Hypothesis]) -> list[Hypothesis]:
        """Best first, those that are possible; the empty hypothesis if there are none."""
        possible = [one for one in n_best if math.isfinite(one.score)]
        if not possible:
            return [Hypothesis((), 0.0, dict.fromkeys(n_best[0].parts, 0.0))]
        return sorted(possible, key=lambda one: one.score, reverse=True)
