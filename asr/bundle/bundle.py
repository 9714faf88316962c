"""A trained model as one self-contained folder: move it anywhere, load it, use it.

config.yaml          what the model is (ModelSpec); where it was trained here, all of its Experiment, with provenance
model.safetensors    weights, and the front-end's statistics under `frontend.`; never a pickle
tokenizer.model      with tokens.txt for people; further tokenizers in folders tokenizers/<name>
training_texts.bin   sorted 64-bit hashes of training texts and speakers
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from asr.bundle.backends.base import Backend
from asr.bundle.backends.torch import TorchBackend
from asr.bundle.folder import CONFIG_FILE, WEIGHTS_FILE, require_parts
from asr.bundle.lm import is_language_model
from asr.bundle.precision import choose_precision, lower
from asr.bundle.recognition import Decoded, DecodeOptions, decode_waveforms
from asr.bundle.tensors import check_fits, fill, load_tensors, mapped_apart, save_tensors, without_weights
from asr.bundle.whole_numbers import widened
from asr.config import Experiment, ModelSpec, dump_yaml, load_spec
from asr.errors import BundleError, ConfigError
from asr.features import Frontend, build_frontend
from asr.models.asr_model import AsrModel, build_model
from asr.nn.lora import merged_state
from asr.system.libraries import giving_memory_back
from asr.system.runtime import derive_seed, write_text_atomic
from asr.text.tokenizer import Tokenizer, load_tokenizer
from asr.types import MAIN_TOKENIZER
from asr.upgrade import upgrade_tensors

FRONTEND_PREFIX = "frontend."
TOKENIZERS_FOLDER = "tokenizers"  # of a model folder, for those beside the main one


@dataclass(frozen=True)
class Bundle:
    """Everything needed to turn audio into text."""

    spec: ModelSpec
    frontend: Frontend
    tokenizers: Mapping[str, Tokenizer]  # by name; the main one is MAIN_TOKENIZER
    model: AsrModel
    runtime: Backend | None = None  # None is torch in float32
    dtype: str = "float32"  # of its arithmetic, as outputs record it

    @classmethod
    def build(
        cls, spec: ModelSpec, frontend: Frontend, tokenizers: Mapping[str, Tokenizer], *, seed: int | None = None
    ) -> Bundle:
        """A bundle with fresh weights; with a seed they are drawn from it, otherwise from torch's generator."""
        if seed is not None:
            torch.manual_seed(derive_seed(seed, "weights"))
        vocabularies = {name: tokenizer.vocabulary for name, tokenizer in tokenizers.items()}
        model = build_model(spec.encoder, spec.heads, frontend.num_features, vocabularies)
        return cls(spec, frontend, tokenizers, model)

    @classmethod
    def load(cls, folder: Path | str, device: torch.device | str = "cpu", dtype: str = "float32") -> Bundle:
        """Read a model folder, also of asr 0.1; the model is in evaluation mode.

        In float32 unless `dtype` says otherwise (see `asr.bundle.precision`); a model in fewer bits can do nothing but
        recognise. Raises BundleError naming the folder or file that is missing or damaged, ConfigError for a dtype that
        the model cannot have.
        """
        folder = Path(folder)
        require_parts(folder, "asr train")
        if is_language_model(folder):
            raise BundleError(f"{folder}: a language model, no acoustic model; `asr train` makes one")
        spec = load_spec(folder / CONFIG_FILE)
        tokenizers = {
            name: load_tokenizer(tokenizer_folder(folder, name), config)
            for name, config in spec.tokenizer_configs.items()
        }
        precision = choose_precision(dtype, spec, torch.device(device))
        if precision.is_lowered:
            with without_weights():
                bundle = cls.build(spec, build_frontend(spec.frontend), tokenizers)
            with giving_memory_back():
                bundle.take_weights(folder / WEIGHTS_FILE)
                lower(bundle.model, precision)
        else:
            bundle = cls.build(spec, build_frontend(spec.frontend), tokenizers)
            bundle.load_weights(folder / WEIGHTS_FILE)
        bundle.frontend.to(device).eval()
        bundle.model.to(device).eval()
        return replace(bundle, dtype=precision.name).with_dtype(precision.autocast)

    @property
    def backend(self) -> Backend:
        """What runs the model."""
        return self.runtime or TorchBackend(self.frontend, self.model)

    def with_dtype(self, dtype: torch.dtype) -> Bundle:
        """The same model run by torch under autocast to `dtype`; itself for float32."""
        if dtype == torch.float32:
            return self
        name = str(dtype).removeprefix("torch.")
        return replace(self, runtime=TorchBackend(self.frontend, self.model, dtype), dtype=name)

    def exact(self) -> Bundle:
        """The same model hearing whole windows, as it was trained, however short the audio is.

        ConfigError for a model that takes audio of any length.
        """
        window = self.frontend.window_seconds
        if window is None:
            raise ConfigError("--exact: this model takes audio of any length, there is no window to fill; leave it out")
        device = next(self.model.parameters()).device
        frontend = build_frontend(self.spec.frontend.model_copy(update={"min_seconds": window})).to(device).eval()
        runtime = replace(self.runtime, frontend=frontend) if isinstance(self.runtime, TorchBackend) else None
        return replace(self, frontend=frontend, runtime=runtime)

    @property
    def frame_seconds(self) -> float:
        """Seconds from one encoder frame to the next."""
        return self.model.subsampling_factor * self.frontend.frame_seconds

    def encoder_frames(self, num_samples: int) -> int:
        """Encoder frames made of so many samples at the front-end's rate; 0 for audio too short for the model."""
        return int(self.model.output_lens(self.frontend.output_lens(torch.tensor([num_samples]))))

    def decode(self, waveforms: Sequence[np.ndarray], options: Sequence[DecodeOptions]) -> list[Decoded]:
        """What waveforms (num_samples,) say, with words in seconds; see `asr.bundle.recognition.decode_waveforms`."""
        return decode_waveforms(self, waveforms, options)

    def save(self, folder: Path, dtype: torch.dtype = torch.float32) -> None:
        """Write config, tokenizers and weights; each file is replaced whole or not at all.

        `dtype` is how the network's weights are stored; the front-end's statistics keep their own.
        """
        folder.mkdir(parents=True, exist_ok=True)
        write_text_atomic(folder / CONFIG_FILE, dump_yaml(self.spec))
        for name, tokenizer in self.tokenizers.items():
            own_folder = tokenizer_folder(folder, name)
            own_folder.mkdir(parents=True, exist_ok=True)
            tokenizer.save(own_folder)
        stored = {
            name: tensor if name.startswith(FRONTEND_PREFIX) else tensor.to(dtype)
            for name, tensor in self.weights().items()
        }
        save_tensors(folder / WEIGHTS_FILE, stored)

    @property
    def tokenizer(self) -> Tokenizer:
        """The main tokenizer."""
        return self.tokenizers[MAIN_TOKENIZER]

    @property
    def experiment(self) -> Experiment:
        """What the model was trained by; BundleError for a model that no training run made here."""
        if not isinstance(self.spec, Experiment):
            raise BundleError("this model was not trained here: its config.yaml has no `data` and no training settings")
        return self.spec

    def weights(self) -> dict[str, Tensor]:
        """All tensors of the model, what LoRA learnt added to them, and those of the front-end under their prefix."""
        frontend = {FRONTEND_PREFIX + name: tensor for name, tensor in self.frontend.state_dict().items()}
        return {**merged_state(self.model), **frontend}

    def load_weights(self, path: Path) -> None:
        """Fill model and front-end from a file; BundleError if a tensor is missing, unknown or of another shape."""
        fill(self.weights(), upgrade_tensors(widened(load_tensors(path)), list(self.model.heads)), path)

    def take_weights(self, path: Path) -> None:
        """As `load_weights`, but the model's tensors become those of the file, in the file's types."""
        heads = list(self.model.heads)
        read = load_tensors(path)
        check_fits(self.weights(), upgrade_tensors(widened(read), heads), path)
        tensors = upgrade_tensors(widened(mapped_apart(path, read)), heads)
        del read
        own = {name: tensor for name, tensor in tensors.items() if not name.startswith(FRONTEND_PREFIX)}
        self.model.requires_grad_(False).load_state_dict(own, assign=True)
        for name, tensor in self.frontend.state_dict().items():
            tensor.copy_(tensors[FRONTEND_PREFIX + name])


def tokenizer_folder(folder: Path, name: str) -> Path:
    """Where a model folder keeps one of its tokenizers."""
    return folder if name == MAIN_TOKENIZER else folder / TOKENIZERS_FOLDER / name
