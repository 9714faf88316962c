"""Made-up language and what a good, imperfect CTC model would hear of it: inputs for benchmarks of searches.

Shapes: T frames, V vocabulary. Everything follows from the generator given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from asr.text.tokenizer.base import SPACE
from asr.text.tokenizer.sentence_piece import BLANK, EOS, SOS, SPECIAL_PIECES, UNK

NUM_SPECIAL = len(SPECIAL_PIECES)
LETTERS = "abcdefghijklmnopqrstuvwxyz"
NUM_FOLLOWERS = 20  # words that like to follow a word
FOLLOW = 0.7  # how often one of them does
EASY = 0.87  # share of the tokens that are heard well


@dataclass(frozen=True)
class Language:
    """Words spelled in pieces, and which of them follow each other.

    Every piece is two letters and no two pieces are the same two, so that a text is spelled in one way only.
    """

    pieces: tuple[str, ...]  # by id; half of those after the special ones start a word
    words: tuple[tuple[int, ...], ...]  # tokens of each word, frequent words first
    followers: NDArray[np.int64]  # (words, NUM_FOLLOWERS)
    confusable: NDArray[np.int64]  # (V, 6): what a token may be mistaken for

    @classmethod
    def generate(cls, rng: np.random.Generator, vocabulary_size: int, num_words: int) -> Language:
        """A language of so many pieces, the special ones among them, and so many words."""
        num_pieces = vocabulary_size - NUM_SPECIAL
        pairs = rng.permutation([first + second for first in LETTERS for second in LETTERS])[:num_pieces]
        num_starts = num_pieces // 2
        pieces = tuple(SPACE + pair if i < num_starts else str(pair) for i, pair in enumerate(pairs))
        starts = np.arange(NUM_SPECIAL, NUM_SPECIAL + num_starts)
        inner = np.arange(NUM_SPECIAL + num_starts, vocabulary_size)
        return cls(
            pieces=(*SPECIAL_PIECES, *pieces),
            words=_lexicon(rng, starts, inner, num_words),
            followers=_zipf_draws(rng, num_words, (num_words, NUM_FOLLOWERS)),
            confusable=_confusable(rng, starts, inner),
        )

    def spell(self, words: Sequence[int]) -> tuple[int, ...]:
        """The tokens of a sentence."""
        return tuple(token for word in words for token in self.words[word])

    def write(self, tokens: Sequence[int]) -> str:
        """The text that tokens write."""
        return "".join(self.pieces[token] for token in tokens).replace(SPACE, " ").strip()

    def text(self, words: Sequence[int]) -> str:
        """A sentence with spaces between its words."""
        return self.write(self.spell(words))

    def tokens(self, text: str) -> tuple[int, ...]:
        """The one way to spell a text, also one with words that the language lacks; KeyError if there is none.

        Its first piece may be one that starts no word: a search can begin so, and nobody sees it in the text.
        """
        tokens: list[int] = []
        for word in text.split():
            for at in range(0, len(word), 2):
                pair = word[at : at + 2]
                piece = SPACE + pair if at == 0 else pair
                tokens.append(self._ids[pair] if not tokens and piece not in self._ids else self._ids[piece])
        return tuple(tokens)

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {piece: token for token, piece in enumerate(self.pieces)}

    def sentences(self, rng: np.random.Generator, lens: NDArray[np.int64]) -> list[list[int]]:
        """Sentences of so many words each: mostly a favourite follower of the last word, else any word by frequency."""
        num, longest = len(lens), int(lens.max())
        words = np.empty((num, longest), np.int64)
        words[:, 0] = _zipf_draws(rng, len(self.words), (num,))
        for at in range(1, longest):
            favourite = self.followers[words[:, at - 1], _zipf_draws(rng, NUM_FOLLOWERS, (num,))]
            words[:, at] = np.where(rng.random(num) < FOLLOW, favourite, _zipf_draws(rng, len(self.words), (num,)))
        return [row[:length].tolist() for row, length in zip(words, lens, strict=True)]


def _zipf_draws(rng: np.random.Generator, num: int, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Numbers below `num`, the n-th as probable as 1 / n."""
    cumulative = np.cumsum(1.0 / np.arange(1, num + 1))
    return np.asarray(np.searchsorted(cumulative, rng.random(shape) * cumulative[-1]).clip(max=num - 1), np.int64)


def _lexicon(
    rng: np.random.Generator, starts: NDArray[np.int64], inner: NDArray[np.int64], num_words: int
) -> tuple[tuple[int, ...], ...]:
    """Distinct spellings of one to four pieces; short ones tend to come first, as in any language."""
    words: dict[tuple[int, ...], float] = {}
    while len(words) < num_words:
        num_inner = int(rng.choice(4, p=(0.1, 0.4, 0.35, 0.15)))
        start = int(starts[_zipf_draws(rng, len(starts), ())])
        word = (start, *inner[_zipf_draws(rng, len(inner), (num_inner,))].tolist())
        words.setdefault(word, len(word) + rng.normal())
    return tuple(sorted(words, key=lambda word: words[word]))


def _confusable(rng: np.random.Generator, starts: NDArray[np.int64], inner: NDArray[np.int64]) -> NDArray[np.int64]:
    """Six others for every token, mostly ones that stand at the same place of a word; frequent pieces more often."""
    others = np.zeros((NUM_SPECIAL + len(starts) + len(inner), 6), np.int64)
    for same, different in ((starts, inner), (inner, starts)):
        for token in same:
            near = same[same != token]
            weights = 1.0 / np.arange(1, len(near) + 1)
            others[token, :5] = rng.choice(near, 5, replace=False, p=weights / weights.sum())
            others[token, 5] = rng.choice(different)
    return others


@dataclass(frozen=True)
class Heard:
    """An utterance as the model hears it."""

    tokens: tuple[int, ...]  # what was said
    text: str
    log_probs: NDArray[np.float32]  # (T, V); SOS and EOS are -inf


def hear(rng: np.random.Generator, language: Language, num_frames: int, tokens_per_frame: float = 0.22) -> Heard:
    """One sentence that fills so many frames, as a CTC model hears it.

    Mostly blank; every token a spike of one to three frames, where a few competitors share its probability. Where one
    of them wins, the greedy search is wrong and a language model may help.
    """
    num_tokens = round(num_frames * tokens_per_frame)
    (words,) = language.sentences(rng, np.array([num_tokens]))
    while len(language.spell(words)) > num_tokens:
        words.pop()
    tokens = language.spell(words)
    probs = _background(rng, num_frames, len(language.pieces))
    for token, begin, end in _places(rng, tokens, num_frames):
        rivals, shares = _competition(rng, token, language.confusable[token])
        for frame in range(max(begin - 1, 0), min(end + 1, num_frames)):
            is_spike = begin <= frame < end
            spike = np.zeros(probs.shape[1])
            spike[rivals] = shares * rng.lognormal(sigma=0.3, size=len(rivals))
            weight = 0.99 if is_spike else rng.uniform(0.0, 0.1)  # the shoulders of a spike are low
            probs[frame] = (1.0 - weight) * probs[frame] + weight * spike / spike.sum()
    with np.errstate(divide="ignore"):
        return Heard(tokens, language.text(words), np.log(probs / probs.sum(1, keepdims=True)).astype(np.float32))


def _background(rng: np.random.Generator, num_frames: int, vocabulary_size: int) -> NDArray[np.float64]:
    """Blank, and a little of everything else but SOS and EOS: (T, V)."""
    noise = rng.exponential(size=(num_frames, vocabulary_size)) ** 3
    noise[:, [BLANK, SOS, EOS]] = 0.0
    noise[:, UNK] *= 0.1
    noise *= rng.uniform(0.002, 0.02, (num_frames, 1)) / noise.sum(1, keepdims=True)
    noise[:, BLANK] = 1.0 - noise.sum(1)
    return noise


def _places(rng: np.random.Generator, tokens: Sequence[int], num_frames: int) -> list[tuple[int, int, int]]:
    """Token, first frame and end of every spike; a blank is left between equal neighbours."""
    lens = rng.choice((1, 2, 3), len(tokens), p=(0.6, 0.3, 0.1))
    forced = np.array([0, *(int(a == b) for a, b in pairwise(tokens)), 0])
    spare = num_frames - int(lens.sum() + forced.sum())
    assert spare >= 0, "the tokens do not fit into the frames"
    gaps = forced + rng.multinomial(spare, np.full(len(tokens) + 1, 1.0 / (len(tokens) + 1)))
    begins = np.cumsum(gaps[:-1]) + np.concatenate(([0], np.cumsum(lens)[:-1]))
    return [(token, int(at), int(at + n)) for token, at, n in zip(tokens, begins, lens, strict=True)]


def _competition(
    rng: np.random.Generator, token: int, confusable: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Who shares the probability of a spike - the token, three confusable ones, blank - and their shares."""
    rivals = np.array([token, *rng.choice(confusable, 3, replace=False), BLANK])
    own = rng.uniform(0.6, 0.97) if rng.random() < EASY else rng.uniform(0.1, 0.5)
    return rivals, np.array([own, *((1.0 - own) * rng.dirichlet(np.full(4, 0.5)))])
