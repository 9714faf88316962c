"""Intervals of error rates: bootstrap over utterances (Bisani & Ney 2004, doi:10.1109/ICASSP.2004.1326009)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from asr.system.runtime import derive_rng

NUM_SAMPLES = 10_000
_CHUNK_CELLS = 4_000_000  # integers held at once


def bootstrap_interval(
    errors: npt.NDArray[np.int64],
    lengths: npt.NDArray[np.int64],
    *,
    num_samples: int = NUM_SAMPLES,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[float, float] | None:
    """Interval of sum(errors) / sum(lengths) when utterances are drawn anew with replacement.

    `errors` and `lengths` are (N,) counts by utterance; their order does not matter. Returns the percentiles of the
    rates of `num_samples` samples as fractions; samples without reference words have no rate and are left out. None
    without any reference word. A single utterance gives an interval of no width: there is nothing to draw from.
    """
    if not lengths.sum():
        return None
    sums = _sampled_sums(np.stack([errors, lengths], axis=1), num_samples, derive_rng(seed, "bootstrap"))
    return _percentiles(sums[:, 0] / sums[:, 1], confidence)


def _sampled_sums(
    columns: npt.NDArray[np.int64], num_samples: int, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Sums of the columns (N, K), the last one of lengths, over N rows drawn with replacement: (samples, K).

    Samples without a reference word have no rate and are left out.
    """
    # Utterances with equal counts cannot be told apart, so each sample draws how often each distinct row occurs: the
    # same distribution, with work and memory that stay small however many utterances there are.
    rows, repeats = _distinct_rows(columns)
    chunk = max(1, _CHUNK_CELLS // len(rows))
    sums = []
    for first in range(0, num_samples, chunk):
        size = min(chunk, num_samples - first)
        draws = rng.multinomial(len(columns), repeats / len(columns), size=size)
        sums.append(draws.astype(np.float64) @ rows.astype(np.float64))  # exact below 2**53, and BLAS is fast
    drawn = np.concatenate(sums)
    return drawn[drawn[:, -1] > 0]


def _distinct_rows(columns: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The rows that occur, in order, and how often: numbers sort many times faster than rows."""
    lowest = columns.min(axis=0)
    sizes = (columns.max(axis=0) - lowest + 1).tolist()
    if math.prod(sizes) >= 2**63:
        return np.unique(columns, axis=0, return_counts=True)
    numbers, repeats = np.unique(np.ravel_multi_index(tuple((columns - lowest).T), sizes), return_counts=True)
    return np.stack(np.unravel_index(numbers, sizes), axis=1) + lowest, repeats


def _percentiles(rates: npt.NDArray[np.float64], confidence: float) -> tuple[float, float]:
    tail = 50 * (1 - confidence)
    low, high = np.percentile(rates, [tail, 100 - tail]).tolist()
    return low, high


@dataclass(frozen=True)
class PairedBootstrap:
    """How far the rate of A is above that of B when both are measured on the same utterances, drawn anew."""

    difference: float  # of the rates as measured; positive where B is better
    interval: tuple[float, float]
    p_value: float  # two-sided: twice the share of samples in which the difference has the other sign or none

    def to_json(self) -> dict[str, Any]:
        """The keys of `comparison.bootstrap`."""
        return {"difference": self.difference, "ci95": list(self.interval), "p": self.p_value}


def paired_bootstrap(
    first: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]],
    second: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]],
    *,
    num_samples: int = NUM_SAMPLES,
    confidence: float = 0.95,
    seed: int = 0,
) -> PairedBootstrap | None:
    """Draw utterances with replacement, both systems' errors on them together (Bisani & Ney 2004, section 4).

    `first` and `second` are the errors and reference words of A and B, (N,) each, by utterance. None without any
    reference word. The p-value is at least 2 / (samples + 1): that no sample contradicts does not mean that none could.
    """
    (errors, lengths), (other_errors, other_lengths) = first, second
    if not lengths.sum() or not other_lengths.sum():
        return None
    rng = derive_rng(seed, "paired bootstrap")
    if np.array_equal(lengths, other_lengths):  # fewer kinds of rows, hence faster
        sums = _sampled_sums(np.stack([errors - other_errors, lengths], axis=1), num_samples, rng)
        differences = sums[:, 0] / sums[:, 1]
    else:
        sums = _sampled_sums(np.stack([errors, other_errors, other_lengths, lengths], axis=1), num_samples, rng)
        sums = sums[sums[:, 2] > 0]
        differences = sums[:, 0] / sums[:, 3] - sums[:, 1] / sums[:, 2]
    other_sign = int(min(np.count_nonzero(differences <= 0), np.count_nonzero(differences >= 0)))
    return PairedBootstrap(
        difference=float(errors.sum() / lengths.sum() - other_errors.sum() / other_lengths.sum()),
        interval=_percentiles(differences, confidence),
        p_value=min(1.0, 2 * (other_sign + 1) / (len(differences) + 1)),
    )
