"""A trained model as one self-contained folder: move it anywhere, load it, use it.

config.yaml          the resolved experiment with its provenance
model.safetensors    weights, and the front-end's statistics under `frontend.`; never a pickle
tokenizer.model      with tokens.txt for people
training_texts.bin   sorted 64-bit hashes of training texts and speakers
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from asr.config import ExperimentConfig, LmConfig, dump_yaml, parse_config, parse_lm_config, read_yaml
from asr.errors import BundleError
from asr.features import Frontend, build_frontend
from asr.lm.base import TokenScorer
from asr.lm.neural import NeuralLm, build_language_model
from asr.lm.neural.scorer import NeuralLmScorer
from asr.lm.ngram import ngram_scorer
from asr.lm.ngram.arpa import read_arpa
from asr.models.asr_model import AsrModel, build_model
from asr.system.runtime import atomic_path, derive_seed, write_text_atomic
from asr.text.tokenizer import Tokenizer, load_tokenizer

CONFIG_FILE = "config.yaml"
WEIGHTS_FILE = "model.safetensors"
TOKENIZER_FILE = "tokenizer.model"
TRAINING_TEXTS_FILE = "training_texts.bin"
FRONTEND_PREFIX = "frontend."
CHECKSUM = "sha256"  # key in the metadata of our safetensors files


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
        _require_parts(folder, "asr train")
        if is_language_model(folder):
            raise BundleError(f"{folder}: a language model, no acoustic model; `asr train` makes one")
        config = parse_config(read_yaml(folder / CONFIG_FILE), source=str(folder / CONFIG_FILE))
        frontend = build_frontend(config.frontend)
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
        _fill(self.weights(), path)


@dataclass(frozen=True)
class LmBundle:
    """A neural language model and the tokenizer it shares with an acoustic model.

    The folder is that of a model, less what concerns audio.
    """

    config: LmConfig
    tokenizer: Tokenizer
    model: NeuralLm[Any]

    @classmethod
    def build(cls, config: LmConfig, tokenizer: Tokenizer) -> LmBundle:
        """A bundle with fresh weights, drawn from the configured seed."""
        torch.manual_seed(derive_seed(config.seed, "weights"))
        return cls(config, tokenizer, build_language_model(config.language_model, tokenizer.vocab_size))

    @classmethod
    def load(cls, folder: Path | str, device: torch.device | str = "cpu") -> LmBundle:
        """As `Bundle.load`."""
        folder = Path(folder)
        _require_parts(folder, "asr lm train --neural")
        if not is_language_model(folder):
            raise BundleError(f"{folder}: an acoustic model, no language model; `asr lm train --neural` makes one")
        config = parse_lm_config(read_yaml(folder / CONFIG_FILE), source=str(folder / CONFIG_FILE))
        if config.text is None:
            raise BundleError(f"{folder / CONFIG_FILE}: text is missing; copy the whole folder again")
        tokenizer = load_tokenizer(folder, config.text.tokenizer)
        model = build_language_model(config.language_model, tokenizer.vocab_size)
        _fill(model.state_dict(), folder / WEIGHTS_FILE)
        return cls(config, tokenizer, model.to(device).eval())

    def save(self, folder: Path) -> None:
        """Write config, tokenizer and weights; each file is replaced whole or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        write_text_atomic(folder / CONFIG_FILE, dump_yaml(self.config))
        self.tokenizer.save(folder)
        save_tensors(folder / WEIGHTS_FILE, self.model.state_dict())


def is_language_model(folder: Path) -> bool:
    """Whether a model folder is that of a language model."""
    return (folder / CONFIG_FILE).is_file() and "language_model" in read_yaml(folder / CONFIG_FILE)


def load_lm(path: Path | str, tokenizer: Tokenizer, unk_score: float) -> TokenScorer:
    """What a search asks about texts: the neural language model of a folder, or the n-grams of an ARPA file.

    `tokenizer` is the acoustic model's. `unk_score` is added for a word that n-grams of words lack; a neural model has
    the acoustic model's own tokens and needs none. BundleError if there is no such language model, or if it has other
    tokens.
    """
    path = Path(path)
    if path.is_dir():
        bundle = LmBundle.load(path)
        _require_same_tokens(path, bundle, tokenizer)
        return NeuralLmScorer(bundle.model)
    if not path.exists():
        raise BundleError(f"{path}: no such language model; `asr lm train` makes one")
    return ngram_scorer(read_arpa(path), tokenizer.vocabulary, unk_score)


def _require_same_tokens(path: Path, bundle: LmBundle, tokenizer: Tokenizer) -> None:
    own, other = bundle.tokenizer.vocabulary.pieces, tokenizer.vocabulary.pieces
    if own == other:
        return
    differing = next((token for token, pair in enumerate(zip(own, other, strict=False)) if len(set(pair)) > 1), None)
    detail = f", token {differing} is '{own[differing]}' and not '{other[differing]}'" if differing is not None else ""
    raise BundleError(
        f"{path}: made for the {len(own)} tokens of {bundle.config.model}, but this model has {len(other)}{detail}; "
        "train a language model whose `model` is this one"
    )


def _require_parts(folder: Path, command: str) -> None:
    """BundleError unless the folder has all files that a model needs; `command` makes such folders."""
    if not folder.is_dir():
        raise BundleError(f"{folder}: no such model folder; `{command}` makes one")
    for name in (CONFIG_FILE, WEIGHTS_FILE, TOKENIZER_FILE):
        if not (folder / name).is_file():
            raise BundleError(f"{folder / name}: missing; a model folder needs it, copy the whole folder again")


def _fill(own: Mapping[str, Tensor], path: Path) -> None:
    """Copy the tensors of a file into a model's own.

    BundleError if the file's names or shapes are others, or if a value is not finite.
    """
    tensors = load_tensors(path)
    for name in sorted(own.keys() | tensors.keys()):
        if name not in tensors:
            raise BundleError(f"{path}: tensor '{name}' is missing; the file belongs to another {CONFIG_FILE}")
        if name not in own:
            raise BundleError(f"{path}: tensor '{name}' is unknown; the file belongs to another {CONFIG_FILE}")
        if own[name].shape != tensors[name].shape:
            shapes = f"{tuple(tensors[name].shape)}, the configuration says {tuple(own[name].shape)}"
            raise BundleError(f"{path}: tensor '{name}' has shape {shapes}")
    if (broken := first_not_finite(tensors)) is not None:
        raise BundleError(f"{path}: tensor '{broken}' holds NaN or infinity; train again, or take an earlier epoch")
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(tensors[name])


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors and their checksum as safetensors, whole or not at all."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        temporary.write_bytes(save(contiguous, metadata={CHECKSUM: _checksum(contiguous)}))


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file; BundleError if it is missing, damaged or something else, a pickle for one.

    A file with a checksum, as all of ours have since asr 0.2, is damaged if a single bit of it has changed.
    """
    try:
        with safe_open(path, framework="pt") as file:
            checksum = (file.metadata() or {}).get(CHECKSUM)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 it is no dictionary
    except FileNotFoundError as error:
        raise BundleError(f"{path}: missing") from error
    except (SafetensorError, OSError) as error:
        reason = f"damaged or not safetensors ({error})"
        raise BundleError(f"{path}: {reason}; pickled checkpoints are never loaded, copy the file again") from error
    if checksum is not None and checksum != _checksum(tensors):
        raise BundleError(f"{path}: damaged, its contents do not fit its checksum; copy the file again")
    return tensors


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of names, types, shapes and values."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def first_not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """The name of a tensor that holds NaN or an infinity; None if all are numbers."""
    return next((name for name, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())), None)


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
