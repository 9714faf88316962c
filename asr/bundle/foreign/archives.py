"""Torch archives, read by the loader that makes tensors, numbers and texts and runs nothing.

A pickle is a program. `weights_only` interprets a small part of that language and refuses the rest, so that a file
which holds anything but tensors is an error and not an action. Even so these files are read only where somebody names
them.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from asr.errors import BundleError


def load_archive(path: Path) -> Any:
    """What a torch archive holds, tensors on the CPU, mapped into memory where the file allows it.

    BundleError for a file that is damaged, or that holds anything but tensors, numbers, texts and collections of them.
    """
    try:
        return _load(path)
    except pickle.UnpicklingError as error:
        raise BundleError(
            f"{path}: damaged, or holds more than tensors; it could run programs and is not loaded "
            "(ask for safetensors, or save the bare state_dict)"
        ) from error
    except (FileNotFoundError, PermissionError) as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror})") from error
    except Exception as error:  # the loader meets damage in many ways: struct, zip, keys, encodings, ends of files
        raise BundleError(f"{path}: damaged, or no torch archive; copy the file again") from error


def load_tensor_archive(path: Path) -> Mapping[str, Tensor]:
    """An archive that is nothing but tensors by name; BundleError for other content."""
    return tensors_of(load_archive(path), path)


def tensors_of(content: Any, path: Path) -> Mapping[str, Tensor]:
    """The same for what was loaded already; the file is named in errors."""
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise BundleError(f"{path}: holds no tensors by name; not a model's weights")
    if other := next((name for name, value in content.items() if not isinstance(value, Tensor)), None):
        raise BundleError(f"{path}: '{other}' is no tensor; not a model's weights alone")
    return content


def _load(path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of types that are no longer made
        try:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError:  # older than the zip files that can be mapped
            return torch.load(path, map_location="cpu", weights_only=True)
