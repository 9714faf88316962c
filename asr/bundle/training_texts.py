"""What a model was trained on, as hashes: enough to score seen and unseen texts apart, and no more."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asr.system.runtime import atomic_path, derive_seed

TRAINING_TEXTS_FILE = "training_texts.bin"


@dataclass(frozen=True)
class TrainingTexts:
    """Hashes of what a model was trained on, to tell seen from unseen texts and speakers without keeping them."""

    hashes: np.ndarray  # uint64, sorted

    @classmethod
    def collect(cls, texts: Iterable[str], speakers: Iterable[str]) -> TrainingTexts:
        """Hash normalised training texts and speaker names."""
        of_texts = (cls._hash("text", text) for text in texts)
        of_speakers = (cls._hash("speaker", name) for name in speakers)
        return cls.of(np.fromiter(itertools.chain(of_texts, of_speakers), dtype="<u8"))

    @classmethod
    def of(cls, hashes: np.ndarray) -> TrainingTexts:
        """Hashes (uint64) in any order, which are sorted in place; each is kept once."""
        hashes.sort()
        return cls(hashes[np.diff(hashes, prepend=~hashes[:1]) != 0])

    @classmethod
    def load(cls, folder: Path) -> TrainingTexts | None:
        """The hashes beside a model, or None where the folder has none."""
        path = folder / TRAINING_TEXTS_FILE
        return cls(np.fromfile(path, dtype="<u8")) if path.is_file() else None

    def save(self, folder: Path) -> None:
        """Write `training_texts.bin`."""
        with atomic_path(folder / TRAINING_TEXTS_FILE) as temporary:
            self.hashes.tofile(temporary)

    def has_text(self, text: str) -> bool:
        """Whether this normalised text occurred in training."""
        return self._has(self._hash("text", text))

    def has_speaker(self, speaker: str) -> bool:
        """Whether this speaker occurred in training."""
        return self._has(self._hash("speaker", speaker))

    def _has(self, value: int) -> bool:
        index = int(np.searchsorted(self.hashes, np.uint64(value)))
        return index < len(self.hashes) and int(self.hashes[index]) == value

    @staticmethod
    def _hash(kind: str, value: str) -> int:
        return derive_seed(kind, value)
