"""Forced alignment of a long text with a long recording, parts of which may be left out: exact, in bounded memory.

The search of `forced` over an hour has 90 000 frames and 100 000 states or more; its back-pointers would take
gigabytes. So the scores of all states are kept at few frames only, the checkpoints, and the path is then found from the
end, block by block: scores are worked out again from the checkpoint before the block, this time with back-pointers
(Grice, Hughey & Speck 1997, "Reduced space sequence alignment"). A path passes at most one token a frame, so few states
have to be visited again; where that misses the path, its score tells, and more are. Nothing is pruned: wherever a text
and a recording part, and for how long, the best path of all is found. Time grows with frames times tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

CHECKPOINT_BYTES = 1 << 27
MIN_BLOCK_FRAMES = 1000  # between checkpoints, more where they would take more than CHECKPOINT_BYTES
# How a token is reached: from itself, the blank before it, the token before that, the blank after it; or, in the same
# frame, from the wildcard before what is left out.
STAY, FROM_BLANK, FROM_TOKEN, RESUME, DETOUR = range(5)


class LogProbs(Protocol):
    """Log-probabilities (S, V), read by slices of frames; a numpy array is one."""

    def __len__(self) -> int: ...

    def __getitem__(self, frames: slice, /) -> np.ndarray: ...


@dataclass(frozen=True)
class Wildcards:
    """Where a text and a recording may part. At all `places` (N,), in rising order, stands the same token.

    What is between two neighbours may be left out for the price between them, `prices` (N - 1,), finite and not
    negative: then that token stands once, not twice. It may continue after blanks, each time for the price `pause`.
    """

    places: Sequence[int] = ()
    prices: Sequence[float] = ()
    pause: float = np.inf


def align_long(
    log_probs: LogProbs,
    tokens: Sequence[int],
    wildcards: Wildcards | None = None,
    *,
    blank: int,
    checkpoint_bytes: int = CHECKPOINT_BYTES,
    min_block_frames: int = MIN_BLOCK_FRAMES,
) -> tuple[np.ndarray, float]:
    """Frames (U, 2) of tokens (U,), the first and the one after the last, and the score of the path less all prices.

    Frames of tokens left out are 0; those of the wildcards around them stand at one of these or are divided between
    them. Without a path the score is -inf and all frames are 0. What makes a token a wildcard is its log-probabilities,
    see `asr.alignment.forced.with_wildcard`.
    """
    lattice = _Lattice.of(tokens, wildcards or Wildcards(), blank)
    scores = np.full((2, len(tokens) + 1), -np.inf)
    scores[0, 0] = 0.0
    block_frames = max(min_block_frames, -(-len(log_probs) * scores.nbytes // checkpoint_bytes))
    starts = range(0, len(log_probs), block_frames)
    checkpoints = []
    for start in starts:
        checkpoints.append(scores.copy())
        for row in log_probs[start : start + block_frames]:
            lattice.advance(scores, row)
    ends_in_token = bool(scores[1, -1] > scores[0, -1])
    score = float(scores[int(ends_in_token), -1])
    states = np.zeros(len(log_probs), np.int64)
    if len(log_probs) and np.isfinite(score):
        state, reached = 2 * len(tokens) - ends_in_token, score
        for start, checkpoint in zip(reversed(starts), reversed(checkpoints), strict=True):
            rows = log_probs[start : start + block_frames]
            states[start : start + block_frames], state = _trace(lattice, checkpoint, rows, state, reached)
            reached = float(checkpoint[state % 2, (state + 1) // 2])
    return _spans(states, len(tokens)), score if len(log_probs) else -np.inf


@dataclass(frozen=True)
class _Lattice:
    """States and ways between them, for a stretch of a text of U tokens.

    Place u, from 0, is where u tokens have begun. Scores (2, U + 1) of places are those of the blank after the last of
    these tokens, and of this token itself, which is none at place 0: states 2u and 2u - 1.
    """

    tokens: np.ndarray  # (U,)
    skips: np.ndarray  # (U,) 0 where the blank before a token may be skipped, -inf otherwise
    wildcards: np.ndarray  # (N,) their places
    price_sums: np.ndarray  # (N,) sum of the prices of all that may be left out before them
    pause: float  # price of continuing with one after blanks
    blank: int

    @classmethod
    def of(cls, tokens: Sequence[int], wildcards: Wildcards, blank: int) -> _Lattice:
        ids = np.asarray(tokens, dtype=np.int64)
        skips = np.full(len(ids), -np.inf)
        skips[1:][ids[1:] != ids[:-1]] = 0.0
        places = np.asarray(wildcards.places, dtype=np.int64) + 1
        price_sums = np.cumsum([0.0, *wildcards.prices])[: len(places)]
        return cls(ids, skips, places, price_sums, wildcards.pause, blank)

    def part(self, first: int, last: int) -> _Lattice:
        """The states of places `first` to `last`."""
        inside = (first < self.wildcards) & (self.wildcards <= last)
        return replace(
            self,
            tokens=self.tokens[first:last],
            skips=self.skips[first:last],
            wildcards=self.wildcards[inside] - first,
            price_sums=self.price_sums[inside],
        )

    def advance(self, scores: np.ndarray, row: np.ndarray) -> np.ndarray:
        """Take scores one frame on, of log-probabilities (V,); returns the wildcards now best reached by a detour."""
        blank, token = scores
        reached = token[:-1] + self.skips
        np.maximum(reached, blank[:-1], out=reached)
        reached[self.wildcards - 1] = np.maximum(reached[self.wildcards - 1], blank[self.wildcards] - self.pause)
        np.maximum(blank, token, out=blank)
        np.maximum(token[1:], reached, out=token[1:])
        row = row.astype(np.float64)
        blank += row[self.blank]
        token[1:] += row[self.tokens]
        waiting = token[self.wildcards] + self.price_sums
        best = np.maximum.accumulate(waiting)
        detoured = best > waiting
        ends = self.wildcards[detoured]
        token[ends] = best[detoured] - self.price_sums[detoured]
        found: np.ndarray = ends
        return found

    def steps(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What `advance` will choose: whether blanks (U + 1,) are reached from their token; how tokens (U + 1,) are."""
        blank, token = scores
        steps = np.zeros(len(token), np.int8)
        steps[1:][blank[:-1] > token[1:]] = FROM_BLANK
        best = np.maximum(token[1:], blank[:-1])
        reached = token[:-1] + self.skips
        steps[1:][reached > best] = FROM_TOKEN
        resumed = blank[self.wildcards] - self.pause > np.maximum(best, reached)[self.wildcards - 1]
        steps[self.wildcards[resumed]] = RESUME
        return token > blank, steps


def _trace(
    lattice: _Lattice, checkpoint: np.ndarray, rows: np.ndarray, state: int, score: float
) -> tuple[np.ndarray, int]:
    """States (S,) of the best path through the frames of a block to `state`, and the state before the block.

    `score` is that of the path. Where places too far back are left out, it is not reached.
    """
    last = (state + 1) // 2
    width = len(rows)
    while True:
        first = max(0, last - width)
        part = lattice.part(first, last)
        scores = checkpoint[:, first : last + 1].copy()
        from_token = np.zeros((len(rows), last - first + 1), dtype=bool)
        steps = np.zeros(from_token.shape, np.int8)
        for frame, row in enumerate(rows):
            from_token[frame], steps[frame] = part.steps(scores)
            steps[frame, part.advance(scores, row)] = DETOUR
        if scores[state % 2, -1] == score:
            break
        assert first > 0, "the path to a state is among those to all before it"
        width *= 4
    states = np.zeros(len(rows), np.int64)
    place, in_token = last - first, bool(state % 2)
    wildcard_before = dict(zip(part.wildcards[1:].tolist(), part.wildcards[:-1].tolist(), strict=True))
    for frame in range(len(rows) - 1, -1, -1):
        while in_token and steps[frame, place] == DETOUR:
            place = wildcard_before[place]
        states[frame] = 2 * (first + place) - in_token
        if in_token:
            step = steps[frame, place]
            place, in_token = place - (step in (FROM_BLANK, FROM_TOKEN)), step in (STAY, FROM_TOKEN)
        else:
            in_token = bool(from_token[frame, place])
    return states, 2 * (first + place) - in_token


def _spans(states: np.ndarray, num_tokens: int) -> np.ndarray:
    """First and one past the last frame (U, 2) of the tokens that states (S,) pass."""
    spans = np.zeros((num_tokens, 2), np.int64)
    frames = np.flatnonzero(states % 2)
    passed, first, counts = np.unique(states[frames] // 2, return_index=True, return_counts=True)
    spans[passed, 0] = frames[first]
    spans[passed, 1] = frames[first + counts - 1] + 1
    return spans
