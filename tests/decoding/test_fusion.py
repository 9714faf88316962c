"""Scorers of text see text alone: what writes none, as a timestamp, costs nothing and changes nothing."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from asr.decoding.fusion import FusedScorer, Fusion
from asr.text.vocabulary import Vocabulary

EOS, SOS, STAMP = 3, 4, 5
VOCABULARY = Vocabulary((*"abc", "<eos>", "<sos>", "<0>", "<1>"), sos=SOS, eos=EOS, control=frozenset({3, 4, 5, 6}))


class Remembers:
    """Scores by all tokens that it was fed, in order."""

    def init_state(self, num_rows: int, device: torch.device) -> list[tuple[int, ...]]:
        return [()] * num_rows

    def step(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        after = [(*old, token) for old, token in zip(state, tokens.tolist(), strict=True)]
        scores = [[float(hash((*row, token)) % 1000) for token in range(len(VOCABULARY))] for row in after]
        return torch.tensor(scores), after

    def reorder(self, state: Any, index: Tensor) -> Any:
        return [state[row] for row in index.tolist()]

    def concat(self, first: Any, second: Any) -> Any:
        return [*first, *second]


def after(tokens: list[list[int]]) -> Tensor:
    scorer = FusedScorer(Fusion(lm=Remembers()), 0.5, VOCABULARY)  # type: ignore[arg-type]
    state = scorer.init_state(len(tokens), torch.device("cpu"))
    for step in zip(*tokens, strict=True):
        (scores,), state = scorer.step(torch.tensor(step), state)
        swapped = torch.arange(len(tokens)).flip(0)
        state = scorer.reorder(scorer.reorder(state, swapped), swapped)
    return scores


def test_timestamps_between_tokens_of_text_change_no_score() -> None:
    with_stamps = after([[SOS, STAMP, 0, 1, STAMP, 6, 2], [SOS, STAMP, STAMP, STAMP, 0, 1, 2]])
    plain = after([[SOS, 0, 1, 2]])
    text = [0, 1, 2, EOS]
    assert torch.equal(with_stamps[0, text], plain[0, text])
    assert torch.equal(with_stamps[1, text], plain[0, text])
    assert (with_stamps[:, [STAMP, 6]] == 0).all()
    ends = after([[SOS, 0, 1, 2, STAMP]])
    assert torch.equal(ends[0, text], plain[0, text])
