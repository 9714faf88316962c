"""Hotwords: words and phrases that a search expects, each with a boost.

The phrases form an Aho-Corasick automaton over letters (Aho and Corasick 1975), so it does not matter how a tokenizer
splits a word. A text earns part of a phrase's boost with each of its letters and keeps it when the phrase is complete;
when the text goes another way, the parts are taken back. What a whole text earns is therefore the boost of every
phrase in it, no more and no less.
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from asr.errors import ConfigError
from asr.system.text_files import read_text
from asr.text.normalize import normalize
from asr.text.tokenizer import Tokenizer
from asr.text.tokenizer.base import SPACE, Spelling, split_words

DEFAULT_BOOST = 4.0  # a text with the hotword counts as exp(4), some 55, times as likely
MAX_TABLE = 30_000_000  # entries of the automaton's tables: states times tokens
OTHER = 0  # a letter that no hotword has
UNKNOWN = "\ufffd"  # what the unknown token writes


@dataclass(frozen=True)
class Hotword:
    """A word or a phrase, and what having it adds to the natural logarithm of a text's probability."""

    text: str
    boost: float = DEFAULT_BOOST


def parse_hotword(text: str) -> Hotword:
    """`WORD` or `WORD:boost`, a phrase likewise.

    A boost is a number right behind the last colon. Behind a digit it needs a decimal point, `GATE 3:4.0`, for `3:30`
    is a time. What follows a colon after a space is text. ConfigError if there is no word, or if the boost is no
    finite number.
    """
    phrase, separator, boost = text.rpartition(":")
    is_phrase = phrase[-1:].isdigit() and "." not in boost  # a time, a verse, a ratio
    if not separator or is_phrase or (boost and boost.split() != [boost]):
        phrase, boost = text, str(DEFAULT_BOOST)
    try:
        value = float(boost)
    except ValueError as error:
        raise ConfigError(f"hotword '{text}': the boost '{boost}' is no number; write WORD or WORD:4.0") from error
    if not split_words(phrase) or not np.isfinite(value):
        raise ConfigError(f"hotword '{text}': expected a word, or a word and a finite boost as WORD:4.0")
    return Hotword(" ".join(split_words(phrase)), value)


def read_hotwords(path: Path) -> list[Hotword]:
    """One hotword a line, as for `parse_hotword`; empty lines and those that start with # do not count.

    A warning names each line that holds none. ConfigError for a file that cannot be read.
    """
    try:
        lines = read_text(path).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path}: cannot read the hotwords ({error}); give a text file, one hotword a line"
        ) from error
    hotwords = []
    for number, line in enumerate(lines, start=1):
        if line.strip() and not line.startswith("#"):
            try:
                hotwords.append(parse_hotword(line.strip()))
            except ConfigError as error:
                warnings.warn(f"{path}:{number}: left out: {error}", stacklevel=2)
    return hotwords


def in_case_of(tokenizer: Tokenizer, hotword: Hotword) -> Hotword:
    """A hotword as given, or in upper or lower case where the model's tokens can write more of it that way."""
    cases = (hotword.text, hotword.text.upper(), hotword.text.lower())
    return replace(
        hotword,
        text=min(cases, key=lambda text: (not tokenizer.can_write(text), len(tokenizer.unknown_characters(text)))),
    )


def normalized_hotwords(hotwords: Iterable[Hotword], normalizer: str, tokenizer: Tokenizer) -> list[Hotword]:
    """Hotwords in the form of a model's texts, each once, the last boost given.

    Those that the model's tokens cannot write are left out; a warning names them.
    """
    writable: dict[str, Hotword] = {}
    left_out: dict[str, str] = {}
    for hotword in hotwords:
        text = normalize(hotword.text, normalizer)
        if text and tokenizer.can_write(text):
            writable[text] = Hotword(text, hotword.boost)
        else:
            left_out[hotword.text] = "".join(tokenizer.unknown_characters(text)) or text
    if left_out:
        names = ", ".join(f"'{text}'" + (f" ('{unknown}')" if unknown else "") for text, unknown in left_out.items())
        warnings.warn(
            f"hotwords that the model cannot write are left out: {names}; its tokens.txt shows what it can",
            stacklevel=2,
        )
    return list(writable.values())


class HotwordScorer:
    """A `TokenScorer` that boosts hotwords; the state is a node of the automaton for each row."""

    def __init__(self, hotwords: Sequence[Hotword], tokenizer: Spelling) -> None:
        """ConfigError if there are too many hotwords for tables of states by tokens."""
        automaton = _Automaton(hotwords, tokenizer)
        num_tokens = tokenizer.vocab_size
        if automaton.num_nodes * num_tokens > MAX_TABLE:
            raise ConfigError(
                f"{len(hotwords)} hotwords need {automaton.num_nodes} states for {num_tokens} tokens each; "
                f"leave some out, at most {MAX_TABLE // num_tokens} letters are possible"
            )
        self.start = automaton.boundary
        self.next, self.scores = automaton.tables()
        self._next, self._scores = torch.from_numpy(self.next), torch.from_numpy(self.scores)

    def init_state(self, num_rows: int, device: torch.device) -> Tensor:
        """The state before the start: at the beginning of a word."""
        self._next, self._scores = self._next.to(device), self._scores.to(device)
        return torch.full((num_rows,), self.start, dtype=torch.int64, device=device)

    def step(self, tokens: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (N, V) float64 of the tokens after `tokens` (N,), and the state after them."""
        state = self._next[state, tokens]
        return self._scores[state], state

    def futures(self, state: Tensor) -> Tensor:
        """See `MergingScorer`: what counts is the node."""
        return self._next[state]

    def reorder(self, state: Tensor, index: Tensor) -> Tensor:
        """The state of the rows `index`."""
        return state[index]

    def concat(self, first: Tensor, second: Tensor) -> Tensor:
        """The rows of two states in one."""
        return torch.cat([first, second])


class _Automaton:
    """Letters in, earnings out. A phrase is spelled with a boundary before, between and after its words.

    A script without spaces has no boundaries: there a phrase counts wherever it stands.
    """

    def __init__(self, hotwords: Sequence[Hotword], tokenizer: Spelling) -> None:
        self._tokenizer = tokenizer
        self._space = "" if tokenizer.word_boundary == "none" else SPACE
        spellings = [self._spell(hotword) for hotword in hotwords]
        letters = sorted(set(SPACE).union(*spellings))
        self.letter_ids = {letter: number for number, letter in enumerate(letters, start=1)}
        self.num_nodes = 1
        self._children: list[dict[int, int]] = [{}]
        self._is_boundary = [False]
        potential, rewards = [0.0], [0.0]
        for hotword, spelling in zip(hotwords, spellings, strict=True):
            node = 0
            for depth, letter in enumerate(spelling, start=1):
                node = self._child(node, letter, potential, rewards)
                if depth < len(spelling):  # what is yet to come earns in proportion; the boundary before it is free
                    free = len(self._space)
                    potential[node] = max(potential[node], hotword.boost * (depth - free) / (len(spelling) - free))
            rewards[node] += hotword.boost
        self.boundary = self._children[0].get(self.letter_ids[SPACE], 0)
        self.potential = np.array(potential)
        self.goto, self.rewards = self._complete(np.array(rewards))

    def _spell(self, hotword: Hotword) -> str:
        words = map(self._tokenizer.spell, hotword.text.split())
        return self._space + self._space.join(words) + self._space

    def _child(self, node: int, letter: str, potential: list[float], rewards: list[float]) -> int:
        label = self.letter_ids[letter]
        if label not in self._children[node]:
            self._children[node][label] = self.num_nodes
            self._children.append({})
            self._is_boundary.append(letter == SPACE)
            potential.append(0.0)
            rewards.append(0.0)
            self.num_nodes += 1
        return self._children[node][label]

    def _complete(self, rewards: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where each letter leads from each node (S, L), and what arriving at a node earns, shorter phrases included.

        Nodes are visited by depth: where a node has no child, that of its longest proper suffix is taken.
        """
        goto = np.zeros((self.num_nodes, len(self.letter_ids) + 1), dtype=np.int64)
        suffix = np.zeros(self.num_nodes, dtype=np.int64)
        queue = deque([0])
        while queue:
            node = queue.popleft()
            rewards[node] += rewards[suffix[node]] if node else 0.0
            inherited = goto[suffix[node]].copy() if node else goto[0].copy()
            for label, child in self._children[node].items():
                suffix[child] = inherited[label] if node else 0
                inherited[label] = child
                queue.append(child)
            goto[node] = inherited
        return goto, rewards

    def tables(self) -> tuple[np.ndarray, np.ndarray]:
        """Next nodes (S, V) int64 and scores (S, V) float64 of every token; the column `end` is a sentence's end.

        The start leads nowhere: a text starts at a boundary as it is.
        """
        tokenizer, vocabulary = self._tokenizer, self._tokenizer.vocabulary
        spellings = [
            (self._space if tokenizer.starts_word(token) else "") + tokenizer.letters(token)
            for token in range(len(vocabulary))
        ]
        spellings[vocabulary.end] = self._space
        if vocabulary.unk is not None:
            spellings[vocabulary.unk] = UNKNOWN
        nodes = np.repeat(np.arange(self.num_nodes)[:, None], len(vocabulary), axis=1)
        scores = np.zeros(nodes.shape)
        is_boundary = np.array(self._is_boundary)
        for place in range(max(map(len, spellings))):
            labels = np.array([self.letter_ids.get(s[place], OTHER) if place < len(s) else -1 for s in spellings])
            # one boundary is enough where a space follows a space
            moves = (labels >= 0) & ~(is_boundary[nodes] & (labels == self.letter_ids[SPACE]))
            after = self.goto[nodes, np.maximum(labels, 0)]
            scores += np.where(moves, self.rewards[after], 0.0)
            nodes = np.where(moves, after, nodes)
        scores += self.potential[nodes] - self.potential[:, None]
        scores[:, vocabulary.end] -= self.potential[nodes[:, vocabulary.end]]  # nothing is yet to come
        nodes[:, vocabulary.start] = np.arange(self.num_nodes)
        return nodes, scores
