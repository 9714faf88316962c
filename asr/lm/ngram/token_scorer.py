"""An n-gram model over the acoustic model's own tokens as a scorer for searches."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from asr.lm.ngram.model import NgramModel
from asr.lm.ngram.tables import ArcTable
from asr.text.vocabulary import Vocabulary


class TokenNgramScorer:
    """A `TokenScorer` whose state is the history of each row, int64 (N,). Tokens that the model lacks are <unk>."""

    def __init__(self, model: NgramModel, vocabulary: Vocabulary) -> None:
        self.model = model
        self._arcs = ArcTable.of(model)
        self.token_words = np.array([model.id(piece) for piece in vocabulary.pieces])  # (V,) the word of each token
        self.token_words[vocabulary.end] = model.eos_id
        self._start = vocabulary.start
        self._words = torch.from_numpy(self.token_words)
        self._start_state = model.start_state

    def init_state(self, num_rows: int, device: torch.device) -> Tensor:
        """Every row at the start of a sentence."""
        if self._words.device != torch.device(device):
            self._arcs, self._words = self._arcs.to(device), self._words.to(device)
        return torch.full((num_rows,), self._start_state, device=device)

    def step(self, tokens: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """See `TokenScorer`; scores are float64 (N, V)."""
        after = self._arcs.look_up(state, self._words[tokens]).states
        state = torch.where(tokens == self._start, state, after)
        shape = (len(state), len(self._words))
        return self._arcs.look_up(state[:, None].expand(shape), self._words.expand(shape)).log_probs, state

    def futures(self, state: Tensor) -> Tensor:
        """See `MergingScorer`: what counts is the history."""
        shape = (len(state), len(self._words))
        return self._arcs.look_up(state[:, None].expand(shape), self._words.expand(shape)).states

    def reorder(self, state: Tensor, index: Tensor) -> Tensor:
        """The rows `index`."""
        return state[index]

    def concat(self, first: Tensor, second: Tensor) -> Tensor:
        """All rows of both."""
        return torch.cat([first, second])
