"""The words of a language model as a trie of letters, so that tokens smaller than words can be scored.

The look-ahead of a node is the best unigram score of a word below it (Ortmanns, Ney & Eiden 1996, "Language-model
look-ahead for large vocabulary speech recognition").
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from asr.lm.ngram.model import BOS_WORD, EOS_WORD, UNK_WORD, NgramModel
from asr.text.tokenizer.base import Spelling

SINK = -1  # the node of letters that begin no word
UNKNOWN_LETTER = -1  # a letter that no word has
PUNCTUATION = frozenset('.,;:!?"()')  # of texts that people read; a language model of words seldom knows it


@dataclass(frozen=True, eq=False)
class LetterTrie:
    """Strings that share prefixes. Node 0 is the root; nodes come by depth, then by parent, then by letter.

    The children of node n are `child_begins[n]:child_begins[n + 1]` of `child_letters` and `child_nodes`.
    """

    child_begins: np.ndarray  # int64 (num_nodes + 1,)
    child_letters: np.ndarray  # int32 (num_nodes - 1,), ascending within a node
    child_nodes: np.ndarray  # int32 (num_nodes - 1,)
    level_begins: np.ndarray  # int64 (depth + 2,), nodes of depth d are level_begins[d]:level_begins[d + 1]
    ends: np.ndarray  # int32 (num_strings,), the node where each string ends

    @property
    def num_nodes(self) -> int:
        """Number of distinct prefixes, the empty one included."""
        return len(self.child_nodes) + 1

    @property
    def parents(self) -> np.ndarray:
        """The parent (num_nodes,) int64 of every node; the root is its own."""
        counts = np.diff(self.child_begins)
        return np.concatenate([[0], np.repeat(np.arange(self.num_nodes), counts)])

    @classmethod
    def build(cls, letters: np.ndarray, begins: np.ndarray, num_letters: int) -> LetterTrie:
        """The trie of strings `letters[begins[i]:begins[i + 1]]`, letters in 0..num_letters-1."""
        lens = np.diff(begins)
        ends = np.zeros(len(lens), dtype=np.int64)
        active = np.flatnonzero(lens)
        parents, labels, level_begins = [], [], [0, 1]
        depth = 0
        while active.size:
            keys = ends[active] * num_letters + letters[begins[active] + depth]
            edges, node = np.unique(keys, return_inverse=True)
            parents.append(edges // num_letters)
            labels.append(edges % num_letters)
            ends[active] = level_begins[-1] + node
            level_begins.append(level_begins[-1] + len(edges))
            depth += 1
            active = active[lens[active] > depth]
        num_nodes = level_begins[-1]
        all_parents = np.concatenate([np.zeros(0, dtype=np.int64), *parents])
        return cls(
            child_begins=np.searchsorted(all_parents, np.arange(num_nodes + 1)).astype(np.int64),
            child_letters=np.concatenate([np.zeros(0, dtype=np.int64), *labels]).astype(np.int32),
            child_nodes=np.arange(1, num_nodes, dtype=np.int32),
            level_begins=np.array(level_begins, dtype=np.int64),
            ends=ends.astype(np.int32),
        )


@dataclass(frozen=True, eq=False)
class Lexicon:
    """The letter trie of a model's words, and what each token of a vocabulary writes in its letters.

    <unk>, <s> and </s> are not spelled. Letters are those of `Spelling.spell`, in the case of the words (`one_case`).
    The unknown token writes one letter that no word has, so that a word with it inside is unknown; the other control
    ids write nothing, and neither does punctuation where no word has any.
    """

    child_begins: np.ndarray  # int64 (num_nodes + 1,)
    child_letters: np.ndarray  # int32 (num_nodes - 1,), ascending within a node
    child_nodes: np.ndarray  # int32 (num_nodes - 1,)
    word_ids: np.ndarray  # int32 (num_nodes,), -1 where no word ends
    lookahead: np.ndarray  # float32 (num_nodes,), largest unigram log_prob at or below the node; 0 for the root
    letters: str  # letter id -> letter
    token_begins: np.ndarray  # int64 (V + 1,), the letters of token v are token_begins[v]:token_begins[v + 1]
    token_letters: np.ndarray  # int32, letter ids, UNKNOWN_LETTER for a letter that no word has
    opens_word: np.ndarray  # bool (V,), the token ends the word before it

    @property
    def num_nodes(self) -> int:
        """Number of distinct beginnings of words, the empty one included."""
        return len(self.word_ids)

    @classmethod
    def build(cls, model: NgramModel, tokenizer: Spelling) -> Lexicon:
        """The lexicon of all words of a model, over the tokens of a tokenizer."""
        spelled = [index for index, word in enumerate(model.words) if word not in (UNK_WORD, BOS_WORD, EOS_WORD)]
        words = [model.words[index] for index in spelled]
        in_case = one_case(words, tokenizer)
        spellings = [in_case(tokenizer.spell(word)) for word in words]
        letters = "".join(sorted(set().union(*spellings)))
        letter_ids = {letter: index for index, letter in enumerate(letters)}
        trie = LetterTrie.build(*_flatten(spellings, letter_ids), num_letters=max(len(letters), 1))
        word_ids = np.full(trie.num_nodes, -1, dtype=np.int32)
        likelier = np.argsort(model.log_probs[spelled], kind="stable")  # of words that differ in case alone, it stays
        word_ids[trie.ends[likelier]] = np.array(spelled, dtype=np.int32)[likelier]
        vocabulary = tokenizer.vocabulary
        unheard = str.maketrans(dict.fromkeys(PUNCTUATION.difference(letters)))
        written = [in_case(tokenizer.letters(token)).translate(unheard) for token in range(len(vocabulary))]
        if vocabulary.unk is not None:
            written[vocabulary.unk] = "\0"  # stands for a letter that no word has
            letter_ids.pop("\0", None)
        token_letters, token_begins = _flatten(written, letter_ids)
        return cls(
            child_begins=trie.child_begins,
            child_letters=trie.child_letters,
            child_nodes=trie.child_nodes,
            word_ids=word_ids,
            lookahead=_best_below(trie, word_ids, model.log_probs[: len(model.words)]),
            letters=letters,
            token_begins=token_begins,
            token_letters=token_letters,
            opens_word=np.array([tokenizer.starts_word(token) for token in range(len(vocabulary))]),
        )


def one_case(words: Iterable[str], tokenizer: Spelling) -> Callable[[str], str]:
    """What brings letters of `Spelling.spell` into the case of words where these, or the tokens, have only one.

    So an acoustic model that writes `MAY` or `May` goes with a language model of `may`. Where both have both cases,
    nothing is changed. Letters that are spelled as several, as those beyond ASCII are by bytes, keep their case.
    """
    for letters in (set().union(*words), tokenizer.alphabet):
        has_lower, has_upper = (any(map(test, letters)) for test in (str.islower, str.isupper))
        if has_lower != has_upper:
            change = str.lower if has_lower else str.upper
            return partial(_in_case, tokenizer, change)
    return str


def _in_case(tokenizer: Spelling, change: Callable[[str], str], letters: str) -> str:
    changed = (change(letter) if tokenizer.spell(letter) == letter else letter for letter in letters)
    return "".join(new if len(new) == 1 else old for old, new in zip(letters, changed, strict=True))


def _flatten(strings: Sequence[str], letter_ids: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """Letter ids (int32) of all strings on end, and where each string begins (int64, one more than strings)."""
    begins = np.zeros(len(strings) + 1, dtype=np.int64)
    begins[1:] = np.cumsum([len(string) for string in strings])
    ids = [letter_ids.get(letter, UNKNOWN_LETTER) for string in strings for letter in string]
    return np.array(ids, dtype=np.int32), begins


def _best_below(trie: LetterTrie, word_ids: np.ndarray, unigrams: np.ndarray) -> np.ndarray:
    """The largest unigram log-probability of a word at or below each node, float32; 0 for the root."""
    best = np.where(word_ids >= 0, unigrams[word_ids], -np.inf).astype(np.float32)
    parents = trie.parents
    for begin, end in reversed(list(zip(trie.level_begins[1:-1], trie.level_begins[2:], strict=True))):
        np.maximum.at(best, parents[begin:end], best[begin:end])
    best[0] = 0.0
    return best
