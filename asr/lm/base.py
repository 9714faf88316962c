"""The interface between searches and whatever scores text token by token, such as language models."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor


class TokenScorer(Protocol):
    """Scores every possible next token of N rows at once; the tokens are those of the acoustic model.

    The sum of the scores of a sentence's tokens and of its end is the score of the sentence: natural logarithms, at
    least float32, finite for every token that may stand in a text. What is fed first is
    `Vocabulary.start`. The column `Vocabulary.end` is the score of ending here; the columns of
    `Vocabulary.never_predicted` mean nothing. A row's answer does not depend on the other rows. States are never
    changed in place.
    """

    def init_state(self, num_rows: int, device: torch.device) -> Any:
        """The state before the start of so many rows."""
        ...

    def step(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Feed each row's last token (N,), `start` first; scores (N, V) of the next one, and the state after."""
        ...

    def reorder(self, state: Any, index: Tensor) -> Any:
        """The state of the rows `index` (M,) int64, which may repeat, drop or permute rows."""
        ...

    def concat(self, first: Any, second: Any) -> Any:
        """The rows of two states, which may have been fed different numbers of tokens, in one."""
        ...


class MergingScorer(TokenScorer, Protocol):
    """A scorer that can say which texts it will score alike from now on, whatever follows them."""

    def futures(self, state: Any) -> Tensor:
        """A number (N, V) int64 for each row and next token; equal ones have the same future."""
        ...
