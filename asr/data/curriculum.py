"""Short utterances first: a curriculum for the first epochs (Amodei et al., "Deep Speech 2", ICML 2016, "SortaGrad").

CTC must first find out that tokens come in order, and short utterances leave it the fewest ways to be wrong.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from asr.data.sampler import Sampler, as_durations
from asr.data.table import Durations


class CurriculumSampler:
    """Another sampler's batches, in the first `epochs` epochs from those of short utterances to those of long ones.

    The batches themselves stay as they are, so every utterance still comes once an epoch and all depends on
    (seed, epoch) alone. What counts is a batch's longest utterance; batches of equal ones keep their random order.
    """

    def __init__(self, sampler: Sampler, durations: Sequence[float] | Durations, *, epochs: int) -> None:
        self.sampler = sampler
        self.durations = as_durations(durations)  # seconds, of each utterance the sampler counts
        self.epochs = epochs

    def batches(self, epoch: int) -> Sequence[Sequence[int]]:
        """Indices into `durations`, batch by batch."""
        batches = self.sampler.batches(epoch)
        if epoch >= self.epochs:
            return batches
        return sorted(batches, key=lambda batch: float(self.durations[np.asarray(batch)].max()))
