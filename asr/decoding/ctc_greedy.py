"""Greedy CTC search: the best token of every frame, repeats merged, blanks dropped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import ClassVar, Literal

import torch
from torch import Tensor

from asr.decoding.base import SEARCHES, Heads, Prompt, Search, SearchState, TokenFilter, require_ctc
from asr.decoding.fusion import NO_FUSION, Fusion
from asr.decoding.prompts import refuse_prompts
from asr.lengths import padding_mask
from asr.registry import NamedConfig
from asr.types import EncoderOutput, Hypothesis

Spans = tuple[tuple[int, int], ...]


class CtcGreedyConfig(NamedConfig):
    """Greedy CTC search has no settings."""

    name: Literal["ctc_greedy"] = "ctc_greedy"


@dataclass(frozen=True)
class BestPaths(SearchState):
    """The best path of each of B utterances so far."""

    tokens: tuple[tuple[int, ...], ...]
    spans: tuple[Spans, ...]
    last: Tensor  # (B,) token of the last frame, blank before the first one
    frames: Tensor  # (B,)
    scores: Tensor  # (B,) float64 log-probability of the path
    unreadable: Tensor  # (B,) bool, whether there was a frame without a best token

    def select(self, index: Tensor) -> BestPaths:
        """See `SearchState`."""
        rows = index.tolist()
        return BestPaths(
            tuple(self.tokens[row] for row in rows),
            tuple(self.spans[row] for row in rows),
            *(values[index] for values in (self.last, self.frames, self.scores, self.unreadable)),
        )

    @staticmethod
    def join(states: Sequence[BestPaths]) -> BestPaths:
        """See `SearchState`."""
        return BestPaths(
            tuple(chain.from_iterable(state.tokens for state in states)),
            tuple(chain.from_iterable(state.spans for state in states)),
            *(
                torch.cat([getattr(state, name) for state in states])
                for name in ("last", "frames", "scores", "unreadable")
            ),
        )


@SEARCHES.register(CtcGreedyConfig)
class CtcGreedy(Search[BestPaths]):
    """Collapses the single best path; the score is the log-probability of that path, not of the text.

    One hypothesis per utterance, with the frames of each token.
    """

    needs: ClassVar = frozenset({"ctc"})

    def __init__(
        self,
        config: CtcGreedyConfig,
        heads: Heads,
        fusion: Fusion = NO_FUSION,
        filters: Sequence[TokenFilter] = (),  # rules for decoders
    ) -> None:
        fusion.refuse(config.name)
        self._ctc = require_ctc(config.name, heads)
        self.vocabulary = self._ctc.vocabulary
        self._name = config.name

    def start(
        self, rows: int, prompts: Sequence[Prompt | None] | None = None, device: torch.device | str = "cpu"
    ) -> BestPaths:
        """See `Search`."""
        refuse_prompts(self._name, prompts)
        zeros = torch.zeros(rows, dtype=torch.int64, device=device)
        blank = zeros + (self.vocabulary.blank or 0)
        return BestPaths(((),) * rows, ((),) * rows, blank, zeros, zeros.double(), zeros.bool())

    def advance(self, state: BestPaths, encoded: EncoderOutput) -> BestPaths:
        """See `Search`."""
        best, path = self._ctc.log_probs(encoded).max(-1)
        padding = padding_mask(encoded.lens, path.shape[1])
        path_from_last = torch.cat([state.last[:, None], path], dim=1)
        written = (path != self.vocabulary.blank) & ~padding
        starts = written & (path != path_from_last[:, :-1])
        stops = written.clone()
        stops[:, :-1] &= (path[:, :-1] != path[:, 1:]) | padding[:, 1:]
        # Summed from frame to frame in float64: neither padding nor cuts can show in the last digits.
        scores = torch.cat([state.scores[:, None], best.masked_fill(padding, 0.0).double()], dim=1).cumsum(1)
        tokens, spans = self._grown(state, path, starts, stops)
        return BestPaths(
            tokens,
            spans,
            last=path_from_last.gather(1, encoded.lens[:, None]).squeeze(1),
            frames=state.frames + encoded.lens,
            scores=scores[:, -1],
            unreadable=state.unreadable | ~(best.isfinite() | padding).all(1),
        )

    def partial(self, state: BestPaths) -> list[tuple[int, ...]]:
        """See `Search`."""
        pairs = zip(state.tokens, state.unreadable.tolist(), strict=True)
        return [() if unreadable else tokens for tokens, unreadable in pairs]

    def finish(self, state: BestPaths) -> list[list[Hypothesis]]:
        """See `Search`."""
        rows = zip(state.tokens, state.spans, state.scores.tolist(), state.unreadable.tolist(), strict=True)
        return [
            [Hypothesis((), 0.0, {"ctc": 0.0}, ()) if unreadable else Hypothesis(tokens, score, {"ctc": score}, spans)]
            for tokens, spans, score, unreadable in rows
        ]

    def _grown(
        self, state: BestPaths, path: Tensor, starts: Tensor, stops: Tensor
    ) -> tuple[tuple[tuple[int, ...], ...], tuple[Spans, ...]]:
        """Tokens and spans of all rows, given where in a chunk (B, S) tokens start and have their last frame."""
        rows, places = starts.nonzero(as_tuple=True)
        new_tokens = path[rows, places].tolist()
        firsts = (state.frames[rows] + places).tolist()
        rows, places = stops.nonzero(as_tuple=True)
        ends = (state.frames[rows] + places + 1).tolist()
        counts = zip(starts.sum(1).tolist(), stops.sum(1).tolist(), strict=True)
        tokens, spans = [], []
        first, end = 0, 0
        for old_tokens, old_spans, (num_starts, num_stops) in zip(state.tokens, state.spans, counts, strict=True):
            if num_stops > num_starts:  # the last token goes on from the chunk before
                old_spans = (*old_spans[:-1], (old_spans[-1][0], ends[end]))
                end += 1
            tokens.append(old_tokens + tuple(new_tokens[first : first + num_starts]))
            spans.append(
                old_spans
                + tuple(
                    zip(firsts[first : first + num_starts], ends[end : end + num_starts], strict=True),
                )
            )
            first, end = first + num_starts, end + num_starts
        return tuple(tokens), tuple(spans)
