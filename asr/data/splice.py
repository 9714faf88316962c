"""New sentences from old recordings: pieces of one speaker's utterances, cut at pauses and chained in random order.

A small corpus says few sentences, and a network soon knows them by heart. Chained pieces hold the same voices and
words in ever new orders. After Lam et al., "On-the-fly aligned data augmentation for sequence-to-sequence ASR",
Interspeech 2021, with whole stretches between pauses instead of single words. `asr data cut` makes
the pieces.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from pydantic import Field

from asr.registry import Config
from asr.types import Utterance


class SpliceConfig(Config):
    """Where the pieces are, and how often an utterance gives way to a chain of them."""

    pieces: str  # manifest with texts and speakers, relative to the working directory
    probability: float = Field(0.5, ge=0, le=1)  # of a chain in place of an utterance


class Splicer:
    """Chains pieces of the speaker of an utterance. Speakers without pieces keep their utterances as they are."""

    def __init__(self, pieces: Sequence[Utterance], probability: float) -> None:
        self.probability = probability
        self._pieces: defaultdict[str, list[Utterance]] = defaultdict(list)
        for piece in pieces:
            if piece.speaker is not None:
                self._pieces[piece.speaker].append(piece)

    def __call__(self, utterance: Utterance, rng: np.random.Generator) -> list[Utterance]:
        """The utterance itself, or pieces that together last no longer than it does, in the order to be played."""
        pieces = self._pieces.get(utterance.speaker or "", [])
        if not pieces or rng.random() >= self.probability:
            return [utterance]
        chain = []
        left = utterance.duration
        for index in rng.permutation(len(pieces)):
            if pieces[index].duration <= left:
                chain.append(pieces[index])
                left -= pieces[index].duration
        return chain or [utterance]
