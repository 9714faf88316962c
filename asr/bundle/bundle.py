"""A trained model as one self-contained folder: move it anywhere, load it, use it.

config.yaml          the resolved experiment with its provenance
model.safetensors    weights, and the front-end's statistics under `frontend.`; never a pickle
tokenizer.model      with tokens.txt for people
training_texts.bin   sorted 64-bit hashes of training texts and speakers
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from asr.bundle.folder import CONFIG_FILE, WEIGHTS_FILE, require_parts
from asr.bundle.lm import is_language_model
from asr.bundle.tensors import fill, save_tensors
from asr.config import ExperimentConfig, dump_yaml, parse_config, read_yaml
from asr.errors import BundleError
from asr.features.frontend import Frontend
from asr.models.asr_model import AsrModel, build_model
from asr.system.runtime import atomic_path, derive_seed, write_text_atomic
from asr.text.tokenizer import Tokenizer, load_tokenizer

TRAINING_TEXTS_FILE = "training_texts.bin"
FRONTEND_PREFIX = "frontend."


@dataclass(frozen=True)
class Bundle:
    """Everything needed to turn audio into text."""

    config: ExperimentConfig
    frontend: Frontend
    tokenizer: Tokenizer
    model: AsrModel

    @classmethod
    def build(cls, config: ExperimentConfig, frontend: Frontend, tokenizer: Tokenizer) -> Bundle:
        """A bundle with fresh weights, drawn from the experiment's seed."""
        torch.manual_seed(derive_seed(config.seed, "weights"))
        model = build_model(config.model, frontend.num_features, tokenizer.vocab_size)
        return cls(config, frontend, tokenizer, model)

    @classmethod
    def load(cls, folder: Path | str, device: torch.device | str = "cpu") -> Bundle:
        """Read a model folder; weights become float32, the model is in evaluation mode.

        Raises BundleError naming the folder or file that is missing or damaged.
        """
        folder = Path(folder)
        require_parts(folder, "asr train")
        if is_language_model(folder):
            raise BundleError(f"{folder}: a language model, no acoustic model; `asr train` makes one")
        config = parse_config(read_yaml(folder / CONFIG_FILE), source=str(folder / CONFIG_FILE))
        frontend = Frontend(config.frontend)
        tokenizer = load_tokenizer(folder, config.tokenizer)
        model = build_model(config.model, frontend.num_features, tokenizer.vocab_size)
        bundle = cls(config, frontend, tokenizer, model)
        bundle.load_weights(folder / WEIGHTS_FILE)
        frontend.to(device).eval()
        model.to(device).eval()
        return bundle

    def save(self, folder: Path, dtype: torch.dtype = torch.float32) -> None:
        """Write config, tokenizer and weights; each file is replaced whole or not at all.

        `dtype` is how the network's weights are stored; the front-end's statistics keep their own.
        """
        folder.mkdir(parents=True, exist_ok=True)
        write_text_atomic(folder / CONFIG_FILE, dump_yaml(self.config))
        self.tokenizer.save(folder)
        stored = {
            name: tensor if name.startswith(FRONTEND_PREFIX) else tensor.to(dtype)
            for name, tensor in self.weights().items()
        }
        save_tensors(folder / WEIGHTS_FILE, stored)

    def weights(self) -> dict[str, Tensor]:
        """All tensors of the model, and those of the front-end under their prefix."""
        frontend = {FRONTEND_PREFIX + name: tensor for name, tensor in self.frontend.state_dict().items()}
        return {**self.model.state_dict(), **frontend}

    def load_weights(self, path: Path) -> None:
        """Fill model and front-end from a file; BundleError if a tensor is missing, unknown or of another shape."""
        fill(self.weights(), path)


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
