"""What LoRA learnt, stored alone: `adapter.safetensors` under PEFT's names, `adapter.yaml` with the model it is of."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
import yaml
from torch import nn

from asr.bundle.bundle import Bundle
from asr.bundle.folder import WEIGHTS_FILE
from asr.bundle.tensors import load_tensors, save_tensors
from asr.config_errors import validate
from asr.errors import BundleError, ConfigError
from asr.nn.lora import DOWN, UP, LoraConfig, learnt_state
from asr.registry import Config
from asr.system.runtime import write_text_atomic
from asr.system.text_files import read_text

ADAPTER_FOLDER = "adapter"  # in a model folder that was trained so
TENSORS_FILE, SETTINGS_FILE = "adapter.safetensors", "adapter.yaml"
PREFIX = "base_model.model."  # PEFT's, before the names of modules


class AdapterConfig(Config):
    """The file adapter.yaml."""

    base: str  # folder or name of the model that was adapted
    base_sha256: str  # of its model.safetensors
    lora: LoraConfig


def describe_base(name: str, folder: Path, lora: LoraConfig) -> AdapterConfig:
    """The settings of an adapter of the model in a folder."""
    return AdapterConfig(base=name, base_sha256=_sha256(folder / WEIGHTS_FILE), lora=lora)


def save_adapter(folder: Path, model: nn.Module, settings: AdapterConfig) -> None:
    """Write the two files; what was learnt in full is among the tensors."""
    folder.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    write_text_atomic(folder / SETTINGS_FILE, text)
    learnt = {PREFIX + name: tensor.contiguous() for name, tensor in learnt_state(model, settings.lora.parts).items()}
    save_tensors(folder / TENSORS_FILE, learnt)


def load_adapted(folder: Path, adapter: Path | None, device: torch.device | str = "cpu", dtype: str = "auto") -> Bundle:
    """As `Bundle.load`, with an adapter if there is one: then in float32, unless `dtype` says otherwise.

    Raises as `use_adapter`; ConfigError for int8, whose weights cannot be added to.
    """
    if adapter is None:
        return Bundle.load(folder, device, dtype)
    if dtype == "int8":
        raise ConfigError("--adapter: weights of 8 bits cannot be added to; use --dtype float32 or bfloat16")
    bundle = Bundle.load(folder, device, "float32" if dtype == "auto" else dtype)
    use_adapter(bundle, adapter, folder)
    return bundle


def read_adapter(folder: Path) -> AdapterConfig:
    """The settings of an adapter; BundleError if there is none."""
    path = folder / SETTINGS_FILE
    try:
        data = yaml.safe_load(read_text(path))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BundleError(
            f"{path}: cannot be read ({' '.join(str(error).split())}); name an adapter's folder"
        ) from error
    return validate(AdapterConfig, data if isinstance(data, dict) else {}, str(path))


@torch.no_grad()
def use_adapter(bundle: Bundle, folder: Path, model_folder: Path) -> None:
    """Add what an adapter learnt to the weights of a model in float32.

    BundleError for an adapter of another model, known by the checksum of its weights, and for one that does not fit.
    """
    settings = read_adapter(folder)
    if _sha256(model_folder / WEIGHTS_FILE) != settings.base_sha256:
        raise BundleError(f"{folder}: is an adapter of another model ({settings.base}), not of {model_folder}")
    own = bundle.model.state_dict()
    tensors = {name.removeprefix(PREFIX): value for name, value in load_tensors(folder / TENSORS_FILE).items()}
    scale = settings.lora.alpha / settings.lora.rank
    for name, tensor in tensors.items():
        layer, _, matrix = name.removesuffix(".weight").rpartition(".")
        target = own.get(f"{layer}.weight") if matrix in (DOWN, UP) else own.get(name)
        if target is None:
            raise BundleError(f"{folder / TENSORS_FILE}: tensor '{name}' has no place in {model_folder}")
        if matrix == UP:
            target += (scale * tensor @ tensors[f"{layer}.{DOWN}.weight"]).to(target.device)
        elif matrix != DOWN:
            target.copy_(tensor)


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
