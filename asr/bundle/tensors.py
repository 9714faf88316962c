"""Tensors in safetensors files with a checksum; never a pickle."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from asr.bundle.folder import CONFIG_FILE
from asr.errors import BundleError
from asr.system.runtime import atomic_path

CHECKSUM = "sha256"  # key in the metadata of our safetensors files


def fill(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor], path: Path) -> None:
    """Copy the tensors of the file `path` into a model's own.

    BundleError if the file's names or shapes are others, or if a value is not finite.
    """
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
