"""A trained model as one self-contained folder: move it anywhere, load it, use it.

config.yaml          the resolved experiment with its provenance
model.safetensors    weights, and the front-end's statistics under `frontend.`; never a pickle
tokenizer.model      with tokens.txt for people
training_texts.bin   sorted 64-bit hashes of training texts and speakers
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from asr.config import ExperimentConfig, dump_yaml, parse_config, read_yaml
from asr.errors import BundleError
from asr.features.frontend import Frontend
from asr.models.asr_model import AsrModel, build_model
from asr.runtime import atomic_path, derive_seed, write_text_atomic
from asr.text.tokenizer import Tokenizer, load_tokenizer

CONFIG_FILE = "config.yaml"
WEIGHTS_FILE = "model.safetensors"
TOKENIZER_FILE = "tokenizer.model"
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
        if not folder.is_dir():
            raise BundleError(f"{folder}: no such model folder; `asr train` makes one")
        for name in (CONFIG_FILE, WEIGHTS_FILE, TOKENIZER_FILE):
            if not (folder / name).is_file():
                raise BundleError(f"{folder / name}: missing; a model folder needs it, copy the whole folder again")
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
        tensors = load_tensors(path)
        own = self.weights()
        for name in sorted(own.keys() | tensors.keys()):
            if name not in tensors:
                raise BundleError(f"{path}: tensor '{name}' is missing; the file belongs to another {CONFIG_FILE}")
            if name not in own:
                raise BundleError(f"{path}: tensor '{name}' is unknown; the file belongs to another {CONFIG_FILE}")
            if own[name].shape != tensors[name].shape:
                shapes = f"{tuple(tensors[name].shape)}, the configuration says {tuple(own[name].shape)}"
                raise BundleError(f"{path}: tensor '{name}' has shape {shapes}")
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(tensors[name])


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors as safetensors, whole or not at all."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        temporary.write_bytes(save(contiguous))


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file; BundleError if it is missing, damaged or something else, a pickle for one."""
    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise BundleError(f"{path}: missing") from error
    except (SafetensorError, OSError) as error:
        reason = f"damaged or not safetensors ({error})"
        raise BundleError(f"{path}: {reason}; pickled checkpoints are never loaded, copy the file again") from error


@dataclass(frozen=True)
class TrainingTexts:
    """Hashes of what a model was trained on, to tell seen from unseen texts and speakers without keeping them."""

    hashes: np.ndarray  # uint64, sorted

    @classmethod
    def collect(cls, texts: Iterable[str], speakers: Iterable[str]) -> TrainingTexts:
        """Hash normalised training texts and speaker names."""
        hashes = {cls._hash("text", text) for text in texts} | {cls._hash("speaker", name) for name in speakers}
        return cls(np.array(sorted(hashes), dtype="<u8"))

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
