"""Weights stored as whole numbers: `NAME` int8 with `NAME_scale` float32, what each row of it is multiplied with.

They come from models that were published so. A model that runs in int8 has these very numbers; others widen them first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from asr.nn.low_precision import whole_numbers

SCALE = "_scale"
ROUNDING = 1e-6  # relative to a row's scale: of products and quotients of float32


class WholeTensors(Mapping[str, Tensor]):
    """Tensors of which those that are whole numbers times a scale for each row are given as both.

    No other tensor than one that was made so has such rows, for whatever its values are.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._tensors = tensors
        self._whole = {name for name in tensors if name.endswith(".weight") and _parts(tensors[name]) is not None}

    def __getitem__(self, name: str) -> Tensor:
        of = name.removesuffix(SCALE)
        if of not in self._whole:
            return self._tensors[name]
        parts = _parts(self._tensors[of])
        assert parts is not None, "it was made of whole numbers when it was looked at"
        return parts[0] if name == of else parts[1]

    def __iter__(self) -> Iterator[str]:
        for name in self._tensors:
            yield name
            if name in self._whole:
                yield name + SCALE

    def __len__(self) -> int:
        return len(self._tensors) + len(self._whole)


def _parts(tensor: Tensor) -> tuple[Tensor, Tensor] | None:
    """Whole numbers and their scales (rows,); None where a tensor is anything else."""
    if tensor.dtype != torch.float32 or tensor.dim() < 2 or not tensor.isfinite().all():
        return None
    rows = tensor.flatten(1)
    whole, scales = whole_numbers(rows)
    for part, numbers, scale in zip(rows.split(4096), whole.split(4096), scales.split(4096), strict=True):
        off = (part - numbers * scale[:, None]).abs() > ROUNDING * 127 * scale[:, None]
        if bool(off.any()):
            return None
    return whole.view(tensor.shape), scales


def widened(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of a file in floating point: whole numbers times their scales."""
    whole = {name for name, tensor in tensors.items() if tensor.dtype == torch.int8 and name + SCALE in tensors}
    left_out = {name + SCALE for name in whole}
    found = {}
    for name, tensor in tensors.items():
        if name in whole:
            scales = tensors[name + SCALE]
            tensor = tensor.float() * scales.reshape(-1, *[1] * (tensor.dim() - 1))
        if name not in left_out:
            found[name] = tensor
    return found


def holds_whole_numbers(path: Path) -> bool:
    """Whether a file of weights has some that are widened when they are read; its header alone is looked at."""
    with safe_open(path, framework="pt") as file:
        names = set(file.keys())
    return any(name.endswith(SCALE) and name.removesuffix(SCALE) in names for name in names)
