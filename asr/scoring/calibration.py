"""Whether confidences mean what they say: of the words given 0.8, are eight in ten right?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from asr.system.display import counted
from asr.system.runtime import atomic_path

NUM_BINS = 10


@dataclass(frozen=True)
class Bin:
    """The words whose confidence lies in [low, high), the last bin with 1.0 included."""

    low: float
    high: float
    words: int
    confidence: float | None  # mean; None without words
    accuracy: float | None  # share of right words; None without words


@dataclass(frozen=True)
class Calibration:
    """A reliability diagram in numbers."""

    bins: tuple[Bin, ...]
    ece: float | None  # expected calibration error, 0..1; None without words

    @property
    def words(self) -> int:
        """How many words were counted."""
        return sum(bin.words for bin in self.bins)

    def to_json(self) -> dict[str, Any]:
        """The keys of `confidence` in wer.json."""
        return {"ece": self.ece, "words": self.words, "bins": [asdict(bin) for bin in self.bins]}


def calibrate(confidences: Sequence[float], right: Sequence[bool], num_bins: int = NUM_BINS) -> Calibration:
    """Compare confidences, 0..1, with which words were right, in bins of equal width.

    The expected calibration error is the distance between mean confidence and accuracy of a bin, averaged over the
    words (Guo et al. 2017, "On calibration of modern neural networks", section 2).
    """
    given, hits = np.asarray(confidences, dtype=np.float64), np.asarray(right, dtype=np.float64)
    places = np.minimum((given * num_bins).astype(np.int64), num_bins - 1)
    counts, sums, right_sums = (
        np.bincount(places, weights, num_bins) for weights in (np.ones_like(given), given, hits)
    )
    bins = tuple(
        Bin(
            low=place / num_bins,
            high=(place + 1) / num_bins,
            words=int(counts[place]),
            confidence=float(sums[place] / counts[place]) if counts[place] else None,
            accuracy=float(right_sums[place] / counts[place]) if counts[place] else None,
        )
        for place in range(num_bins)
    )
    return Calibration(bins, float(np.abs(sums - right_sums).sum() / len(given)) if len(given) else None)


def draw_reliability(calibration: Calibration, picture: Path) -> bool:
    """Draw accuracy over confidence, and how many words each bin has; False where matplotlib is not installed."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return False
    figure = Figure(figsize=(4.5, 5), layout="constrained")
    FigureCanvasAgg(figure)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    lows, width = [bin.low for bin in calibration.bins], 1 / len(calibration.bins)
    top.bar(lows, [bin.accuracy or 0.0 for bin in calibration.bins], width, align="edge", edgecolor="white")
    points = [(bin.confidence, bin.accuracy) for bin in calibration.bins if bin.words]
    top.plot(*(zip(*points, strict=True) if points else ((), ())), "o", color="black", label="mean confidence")
    top.plot((0, 1), (0, 1), "--", color="grey", label="perfectly calibrated")
    error = "no words" if calibration.ece is None else f"ECE {100 * calibration.ece:.1f} %"
    top.set(
        title=f"{counted(calibration.words, 'word')}, {error}", ylabel="share of right words", xlim=(0, 1), ylim=(0, 1)
    )
    top.legend(loc="upper left")
    bottom.bar(lows, [bin.words for bin in calibration.bins], width, align="edge", edgecolor="white")
    bottom.set(xlabel="confidence", ylabel="words")
    with atomic_path(picture) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
    return True
