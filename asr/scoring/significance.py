"""How sure an error rate is: bootstrap over utterances (Bisani & Ney 2004, doi:10.1109/ICASSP.2004.1326009)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from asr.runtime import derive_rng

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
    # Utterances with equal counts cannot be told apart, so each sample draws how often each distinct pair occurs: the
    # same distribution, with work and memory that stay small however many utterances there are.
    pairs, repeats = np.unique(np.stack([errors, lengths], axis=1), axis=0, return_counts=True)
    rng = derive_rng(seed, "bootstrap")
    chunk = max(1, _CHUNK_CELLS // len(pairs))
    rates = []
    for first in range(0, num_samples, chunk):
        size = min(chunk, num_samples - first)
        draws = rng.multinomial(len(errors), repeats / len(errors), size=size)
        sums = draws.astype(np.float64) @ pairs.astype(np.float64)  # exact below 2**53, and BLAS is fast
        sums = sums[sums[:, 1] > 0]
        rates.append(sums[:, 0] / sums[:, 1])
    tail = 50 * (1 - confidence)
    low, high = np.percentile(np.concatenate(rates), [tail, 100 - tail]).tolist()
    return low, high
