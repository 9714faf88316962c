"""A word n-gram model as a scorer for tokens that are parts of words, or whole ones.

A row's state is the history of finished words and the node of the lexicon where the letters of the word so far lead.
Letters earn the change of the look-ahead, the best unigram score of a word that begins like this. Where a word ends,
the look-ahead is taken back and the model's own score of the word is put in its place. So a whole sentence has exactly
the model's score, plus `unk_score` for each unknown word, and a partial word is ranked by what it can become.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from asr.lm.ngram.lexicon import UNKNOWN_LETTER, LetterTrie, Lexicon
from asr.lm.ngram.model import NgramModel
from asr.lm.ngram.tables import ArcTable
from asr.text.tokenizer.base import Spelling

ROOT = 0  # the node between words


@dataclass(frozen=True)
class WordState:
    """Where each row stands."""

    histories: Tensor  # int64 (N,), states of the model, after the last finished word
    nodes: Tensor  # int64 (N,), of the lexicon; `num_nodes`, the sink, stands for letters that begin no word


@dataclass(frozen=True)
class _Nodes:
    """The lexicon's nodes, and the sink behind them."""

    edge_keys: Tensor  # int64 (num_nodes,), ascending: node * letters + letter; the last one is larger than any
    num_letters: int  # the unknown one included, which is the last
    word_ids: Tensor  # int64 (num_nodes + 1,), <unk> where no word ends
    ending: Tensor  # float64 (num_nodes + 1,), earned by ending a word here, on top of the model's score of it
    lookahead: Tensor  # float64 (num_nodes + 1,)

    @classmethod
    def of(cls, lexicon: Lexicon, model: NgramModel, unk_score: float) -> _Nodes:
        num_letters = len(lexicon.letters) + 1
        parents = np.repeat(np.arange(lexicon.num_nodes), np.diff(lexicon.child_begins))
        sentinel = (lexicon.num_nodes + 1) * num_letters
        word_ids = np.append(lexicon.word_ids, -1)
        lookahead = np.append(lexicon.lookahead.astype(np.float64), model.log_probs[model.unk_id] + unk_score)
        return cls(
            edge_keys=torch.from_numpy(np.append(parents * num_letters + lexicon.child_letters, sentinel)),
            num_letters=num_letters,
            word_ids=torch.from_numpy(np.where(word_ids >= 0, word_ids, model.unk_id).astype(np.int64)),
            ending=torch.from_numpy(np.where(word_ids >= 0, 0.0, unk_score) - lookahead),
            lookahead=torch.from_numpy(lookahead),
        )

    def to(self, device: torch.device) -> _Nodes:
        return replace(
            self,
            edge_keys=self.edge_keys.to(device),
            word_ids=self.word_ids.to(device),
            ending=self.ending.to(device),
            lookahead=self.lookahead.to(device),
        )

    def step(self, nodes: Tensor, letters: Tensor) -> Tensor:
        """The nodes one letter on; shapes broadcast."""
        keys = nodes * self.num_letters + letters
        edges = torch.searchsorted(self.edge_keys, keys)
        sink = len(self.word_ids) - 1
        return torch.where(self.edge_keys[edges] == keys, edges + 1, sink)  # nodes come in the order of their edges


@dataclass(frozen=True)
class _Tokens:
    """What each token of the vocabulary writes. Tokens that continue a word share walks along common prefixes."""

    opens_word: Tensor  # bool (V,)
    opened: Tensor  # int64 (V,), where the letters of a token that opens a word lead
    letters: Tensor  # int64 (V, L), of a token that continues a word; the number of letters behind its last
    prefix_parents: tuple[Tensor, ...]  # by length, each prefix's place among those one letter shorter
    prefix_letters: tuple[Tensor, ...]  # by length, each prefix's last letter
    prefix_of: Tensor  # int64 (V,), the token's place among all prefixes, shortest first; 0 for no letters

    @classmethod
    def of(cls, lexicon: Lexicon, nodes: _Nodes) -> _Tokens:
        known = lexicon.token_letters != UNKNOWN_LETTER
        flat = np.where(known, lexicon.token_letters, nodes.num_letters - 1).astype(np.int64)
        lens = np.diff(lexicon.token_begins)
        padded = np.full((len(lens), int(lens.max())), nodes.num_letters)
        padded[np.arange(padded.shape[1]) < lens[:, None]] = flat
        opens_word = lexicon.opens_word
        continuing = np.where(opens_word[:, None], nodes.num_letters, padded)
        opening = torch.from_numpy(np.where(opens_word[:, None], padded, nodes.num_letters))
        continuing_lens = np.where(opens_word, 0, lens)
        begins = np.append(0, np.cumsum(continuing_lens))
        trie = LetterTrie.build(continuing[continuing < nodes.num_letters], begins, nodes.num_letters)
        levels = list(zip(trie.level_begins[1:-1], trie.level_begins[2:], strict=True))
        shorter = trie.level_begins[:-2]
        return cls(
            opens_word=torch.from_numpy(opens_word),
            opened=_walk(nodes, torch.zeros(len(lens), dtype=torch.int64), opening),
            letters=torch.from_numpy(continuing[:, : int(continuing_lens.max())]),
            prefix_parents=tuple(
                torch.from_numpy(trie.parents[begin:end] - before)
                for before, (begin, end) in zip(shorter, levels, strict=True)
            ),
            prefix_letters=tuple(
                torch.from_numpy(trie.child_letters[begin - 1 : end - 1].astype(np.int64)) for begin, end in levels
            ),
            prefix_of=torch.from_numpy(trie.ends.astype(np.int64)),
        )

    def to(self, device: torch.device) -> _Tokens:
        return _Tokens(
            self.opens_word.to(device),
            self.opened.to(device),
            self.letters.to(device),
            tuple(parents.to(device) for parents in self.prefix_parents),
            tuple(letters.to(device) for letters in self.prefix_letters),
            self.prefix_of.to(device),
        )

    def reached(self, nodes: _Nodes, start: Tensor) -> Tensor:
        """Nodes (N, P) where all prefixes lead from the nodes `start` (N,), shortest first."""
        reached = [start[:, None]]
        for parents, letters in zip(self.prefix_parents, self.prefix_letters, strict=True):
            reached.append(nodes.step(reached[-1][:, parents], letters))
        return torch.cat(reached, dim=1)


class WordNgramScorer:
    """A `TokenScorer` of words, which begin where the tokenizer says; see `Lexicon` for what tokens write."""

    def __init__(self, model: NgramModel, tokenizer: Spelling, unk_score: float) -> None:
        """`unk_score` is added for every word that the model lacks, on top of its score of <unk>."""
        self.model = model
        self.lexicon = Lexicon.build(model, tokenizer)
        self.unk_score = unk_score
        self._arcs = ArcTable.of(model)
        self._nodes = _Nodes.of(self.lexicon, model, unk_score)
        self._tokens = _Tokens.of(self.lexicon, self._nodes)
        self._start_state = model.start_state
        self._eos_id = model.eos_id
        self._end = tokenizer.vocabulary.end

    def init_state(self, num_rows: int, device: torch.device) -> WordState:
        """Every row at the start of a sentence."""
        if self._arcs.keys.device != torch.device(device):
            self._arcs, self._nodes, self._tokens = (
                self._arcs.to(device),
                self._nodes.to(device),
                self._tokens.to(device),
            )
        histories = torch.full((num_rows,), self._start_state, device=device)
        return WordState(histories, torch.full_like(histories, ROOT))

    def step(self, tokens: Tensor, state: WordState) -> tuple[Tensor, WordState]:
        """See `TokenScorer`; scores are float64 (N, V)."""
        state = self._feed(tokens, state)
        lookahead = self._nodes.lookahead
        reached = lookahead[self._tokens.reached(self._nodes, state.nodes)] - lookahead[state.nodes][:, None]
        continuing = reached[:, self._tokens.prefix_of]
        ending, histories = self._end_word(state)
        opening = ending[:, None] + lookahead[self._tokens.opened]
        scores = torch.where(self._tokens.opens_word, opening, continuing)
        scores[:, self._end] = (
            ending + self._arcs.look_up(histories, torch.full_like(histories, self._eos_id)).log_probs
        )
        return scores, state

    def futures(self, state: WordState) -> Tensor:
        """See `MergingScorer`: what counts is the history of finished words, and the node."""
        _, after = self._end_word(state)
        histories = torch.where(self._tokens.opens_word, after[:, None], state.histories[:, None])
        reached = self._tokens.reached(self._nodes, state.nodes)[:, self._tokens.prefix_of]
        nodes = torch.where(self._tokens.opens_word, self._tokens.opened, reached)
        return histories * len(self._nodes.word_ids) + nodes

    def reorder(self, state: WordState, index: Tensor) -> WordState:
        """The rows `index`."""
        return WordState(state.histories[index], state.nodes[index])

    def concat(self, first: WordState, second: WordState) -> WordState:
        """All rows of both."""
        return WordState(
            torch.cat([first.histories, second.histories]),
            torch.cat([first.nodes, second.nodes]),
        )

    def _feed(self, tokens: Tensor, state: WordState) -> WordState:
        opens = self._tokens.opens_word[tokens]
        _, histories = self._end_word(state)
        continued = _walk(self._nodes, state.nodes, self._tokens.letters[tokens])
        return WordState(
            torch.where(opens, histories, state.histories),
            torch.where(opens, self._tokens.opened[tokens], continued),
        )

    def _end_word(self, state: WordState) -> tuple[Tensor, Tensor]:
        """What ending the word now adds to the score (N,), and the histories after it (N,)."""
        between_words = state.nodes == ROOT
        word = self._arcs.look_up(state.histories, self._nodes.word_ids[state.nodes])
        ending = torch.where(between_words, 0.0, word.log_probs + self._nodes.ending[state.nodes])
        return ending, torch.where(between_words, state.histories, word.states)


def _walk(nodes: _Nodes, start: Tensor, letters: Tensor) -> Tensor:
    """Where letters (N, L) lead from the nodes `start` (N,); `num_letters` stands for no letter."""
    for column in letters.unbind(dim=1):
        start = torch.where(column < nodes.num_letters, nodes.step(start, column), start)
    return start
