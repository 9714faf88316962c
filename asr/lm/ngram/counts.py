"""How often every n-gram of a corpus occurs, by sorting.

A sentence counts as <s> words </s>, and every n-gram inside it counts. An n-gram is an int64 key: the index of its
beginning among the shorter n-grams, times the number of words, plus its last word; so any order fits. The corpus lies
on disk as word ids and is passed over once per order, in blocks, so that memory grows with the number of distinct
n-grams only.
"""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from asr.errors import LmError
from asr.lm.ngram.model import BOS_WORD, EOS_WORD, UNK_WORD

SPECIAL_WORDS = (UNK_WORD, BOS_WORD, EOS_WORD)
UNK_ID, BOS_ID, EOS_ID = range(3)
BLOCK = 1 << 21  # words handled at a time
NO_NGRAM = -1  # the sentence begins too late for an n-gram of this order to end here


@dataclass(frozen=True, eq=False)
class NgramCounts:
    """All n-grams of a corpus, by order; n-gram i of order 1 is word i."""

    words: tuple[str, ...]  # by id; `SPECIAL_WORDS` first, then in alphabetical order
    keys: tuple[np.ndarray, ...]  # int64 (num_ngrams,), ascending: index of the beginning * len(words) + last word
    counts: tuple[np.ndarray, ...]  # int64 (num_ngrams,)


class IdCorpus:
    """Sentences as word ids in a temporary file, and how often each word occurs. Use it in a `with` statement."""

    def __init__(self, sentences: Iterable[Sequence[str]]) -> None:
        """Read all sentences, once; no word is <s> or </s>. LmError if there are no words."""
        self._folder = tempfile.TemporaryDirectory(prefix="asr-ngram-")
        self._ids = _Ids({word: index for index, word in enumerate(SPECIAL_WORDS)})
        self.num_sentences = 0
        self.num_words = 0  # ends of sentences not counted
        try:
            self._write(sentences)
        except BaseException:
            self._folder.cleanup()
            raise
        totals = np.zeros(len(self._ids), dtype=np.int64)
        for block in self.blocks():
            totals += np.bincount(block, minlength=len(self._ids))
        assert totals[BOS_ID] == totals[EOS_ID] == self.num_sentences, "the marks of a sentence are no words"
        self.word_counts = dict(zip(self._ids, totals.tolist(), strict=True))  # special words included

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._folder.cleanup()

    def most_frequent(self, size: int, among: Collection[str] | None = None) -> list[str]:
        """The words that occur most often, at most `size`, special words aside; of equals the alphabetically first."""
        words = [word for word in self.word_counts if word not in SPECIAL_WORDS and (among is None or word in among)]
        return sorted(words, key=lambda word: (-self.word_counts[word], word))[:size]

    def count(self, order: int, vocabulary: Iterable[str] | None = None) -> NgramCounts:
        """Counts of all n-grams up to `order`. Words outside `vocabulary` count as <unk>; without one, all are in.

        LmError if no sentence is long enough for the order.
        """
        known = self.word_counts if vocabulary is None else vocabulary
        words = (*SPECIAL_WORDS, *sorted(set(known).difference(SPECIAL_WORDS)))
        new_ids = {word: index for index, word in enumerate(words)}
        new_id = np.array([new_ids.get(word, UNK_ID) for word in self._ids], dtype=np.int64)
        unigrams = np.zeros(len(words), dtype=np.int64)
        np.add.at(unigrams, new_id, np.fromiter(self.word_counts.values(), dtype=np.int64))
        keys, counts = [np.arange(len(words))], [unigrams]
        ends: Path | None = None  # per word of the corpus, the index of the n-gram that ends there
        for length in range(2, order + 1):
            shorter = ends
            counter = _Counter()
            for key in self._keys(new_id, len(words), shorter):
                counter.add(key[key != NO_NGRAM])
            distinct, count = counter.total()
            if not distinct.size:
                raise LmError(f"no sentence is long enough for {length}-grams; lower the order to {length - 1}")
            keys.append(distinct)
            counts.append(count)
            if length < order:
                ends = self._file(length)
                with open(ends, "wb") as file:
                    for key in self._keys(new_id, len(words), shorter):
                        _indices(distinct, key).tofile(file)
            if shorter is not None:
                shorter.unlink()
        return NgramCounts(words, tuple(keys), tuple(counts))

    def blocks(self) -> Iterator[np.ndarray]:
        """The word ids of the corpus (<= BLOCK,) int32, as they were given out while reading."""
        return _blocks(self._file(1))

    def _write(self, sentences: Iterable[Sequence[str]]) -> None:
        buffer = array("i")
        with open(self._file(1), "wb") as file:
            for words in sentences:
                self.num_sentences += 1
                self.num_words += len(words)
                buffer.append(BOS_ID)
                buffer.extend(map(self._ids.__getitem__, words))
                buffer.append(EOS_ID)
                if len(buffer) > BLOCK:
                    buffer.tofile(file)
                    del buffer[:]
            buffer.tofile(file)
        if not self.num_words:
            raise LmError("there is no text to train a language model on; all lines are empty")

    def _keys(self, new_id: np.ndarray, num_words: int, shorter: Path | None) -> Iterator[np.ndarray]:
        """For each word of a block, the key of the n-gram that ends there; `shorter` None stands for bigrams."""
        before = np.full(1, NO_NGRAM)  # the shorter n-gram that ends at the word before
        shorter_blocks = _blocks(shorter) if shorter is not None else (new_id[block] for block in self.blocks())
        for block, ends in zip(self.blocks(), shorter_blocks, strict=True):
            histories = np.concatenate([before, ends[:-1]]).astype(np.int64)
            before = ends[-1:]
            usable = (histories != NO_NGRAM) & (block != BOS_ID)
            yield np.where(usable, histories * num_words + new_id[block], NO_NGRAM)

    def _file(self, order: int) -> Path:
        return Path(self._folder.name) / f"{order}-grams"


class _Ids(dict[str, int]):
    """Word -> id, given out as words are met."""

    def __missing__(self, word: str) -> int:
        return self.setdefault(word, len(self))


class _Counter:
    """Distinct keys with their counts, in sorted runs that are merged when they are of like size."""

    def __init__(self) -> None:
        self._runs: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, keys: np.ndarray) -> None:
        """Count each of these keys once."""
        self._runs.append(np.unique(keys, return_counts=True))
        while len(self._runs) > 1 and len(self._runs[-2][0]) < 2 * len(self._runs[-1][0]):
            self._merge_last()

    def total(self) -> tuple[np.ndarray, np.ndarray]:
        """All keys, ascending, and their counts; both int64."""
        while len(self._runs) > 1:
            self._merge_last()
        keys, counts = self._runs[0]
        return keys, counts.astype(np.int64)

    def _merge_last(self) -> None:
        (keys, counts), (more_keys, more_counts) = self._runs[-2:]
        place = np.searchsorted(keys, more_keys)
        known = np.zeros(len(more_keys), dtype=bool)
        inside = place < len(keys)
        known[inside] = keys[place[inside]] == more_keys[inside]
        counts[place[known]] += more_counts[known]
        keys = np.insert(keys, place[~known], more_keys[~known])
        counts = np.insert(counts, place[~known], more_counts[~known])
        self._runs[-2:] = [(keys, counts)]


def _indices(distinct: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Where each key stands among the distinct ones, int32; NO_NGRAM stays."""
    own, inverse = np.unique(keys, return_inverse=True)  # sorted look-ups are many times faster
    place = np.searchsorted(distinct, own)
    return np.where(own == NO_NGRAM, NO_NGRAM, place)[inverse].astype(np.int32)


def _blocks(path: Path) -> Iterator[np.ndarray]:
    with open(path, "rb") as file:
        while (block := np.fromfile(file, dtype=np.int32, count=BLOCK)).size:
            yield block
