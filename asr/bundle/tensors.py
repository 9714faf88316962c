"""Tensors in safetensors files with a checksum; never a pickle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.nn import init
from torch.overrides import TorchFunctionMode

from asr.bundle.folder import CONFIG_FILE
from asr.errors import BundleError
from asr.system.runtime import atomic_path

DRAWS = (Tensor.normal_, Tensor.uniform_, init.normal_, init.uniform_, init.kaiming_uniform_, init.xavier_uniform_)
MIN_MAPPED = 1 << 16  # bytes of a tensor that has a mapping of its own
VALUES_AT_ONCE = 1 << 20  # that are looked at, so that no tensor of the size of an embedding comes beside it
CHECKSUM = "sha256"  # key in the metadata of our safetensors files
ALIGNMENT = 8  # bytes; where the values of a safetensors file begin
DTYPE_NAMES = {  # of safetensors, in its own order
    torch.bool: "BOOL",
    torch.uint8: "U8",
    torch.int8: "I8",
    torch.int16: "I16",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int32: "I32",
    torch.float32: "F32",
    torch.float64: "F64",
    torch.int64: "I64",
}
DTYPE_ORDER = {name: place for place, name in enumerate(DTYPE_NAMES.values())}


def fill(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor], path: Path) -> None:
    """Copy the tensors of the file `path` into a model's own; BundleError as of `check_fits`."""
    check_fits(own, tensors, path)
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(tensors[name])


def check_fits(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor], path: Path) -> None:
    """BundleError if the names or shapes of the file `path` are not a model's own, or if a value is not finite."""
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


@contextmanager
def without_weights() -> Iterator[None]:
    """Modules that are made inside draw no random weights, since theirs come from a file.

    Pages that were never written to take no memory. Values and shapes are unchanged.
    """
    with _NoDraws():
        yield


class _NoDraws(TorchFunctionMode):
    """Leaves tensors as they are where random numbers should be drawn into them."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        if func not in DRAWS:
            return func(*args, **named)
        return args[0] if args else named["tensor"]


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors and their checksum as safetensors, whole or not at all.

    Each tensor is asked for twice, and no two are held at once: a mapping that makes them as they are read needs little
    memory. Nothing is written, not even an empty file, if one cannot be made.
    """
    digest = hashlib.sha256()
    layout: dict[str, tuple[str, list[int], int]] = {}
    for name in sorted(tensors):
        tensor = _plain(tensors[name])
        _add_to_checksum(digest, name, tensor)
        layout[name] = (DTYPE_NAMES[tensor.dtype], list(tensor.shape), tensor.nbytes)
    # the widest types first, as safetensors itself does, so that all of them are aligned
    order = sorted(layout, key=lambda name: (-DTYPE_ORDER[layout[name][0]], name))
    header: dict[str, Any] = {"__metadata__": {CHECKSUM: digest.hexdigest()}}
    place = 0
    for name in order:
        dtype, shape, num_bytes = layout[name]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [place, place + num_bytes]}
        place += num_bytes
    described = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    described += b" " * (-len(described) % ALIGNMENT)
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        file.write(len(described).to_bytes(8, "little"))
        file.write(described)
        for name in order:
            file.write(_bytes_of(_plain(tensors[name])))


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


def mapped_apart(path: Path, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors that `load_tensors` gave for a file, each in a mapping of its own.

    What has been read of one takes no room once it is let go; of those of `load_tensors` all must be.
    """
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
    found = {}
    for name, tensor in tensors.items():
        start, stop = header[name]["data_offsets"]
        if stop - start < MIN_MAPPED or tensor.data_ptr() % tensor.element_size():
            found[name] = tensor.clone()
            continue
        values = np.memmap(path, np.uint8, "c", 8 + size + start, (stop - start,))
        found[name] = torch.from_numpy(values).view(tensor.dtype).view(tensor.shape)
    return found


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of names, types, shapes and values."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        _add_to_checksum(digest, name, tensor)
    return digest.hexdigest()


def _add_to_checksum(digest: hashlib._Hash, name: str, tensor: Tensor) -> None:
    digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
    digest.update(_bytes_of(tensor))


def _plain(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().contiguous()


def _bytes_of(tensor: Tensor) -> memoryview:
    """The values of a contiguous tensor as they lie in memory."""
    return tensor.reshape(-1).view(torch.uint8).numpy().data


def first_not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """The name of a tensor that holds NaN or an infinity; None if all are numbers."""
    for name, tensor in tensors.items():
        if not all(bool(part.isfinite().all()) for part in tensor.reshape(-1).split(VALUES_AT_ONCE)):
            return name
    return None
