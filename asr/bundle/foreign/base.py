"""What a reader of pretrained models in the layout of another toolkit promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from asr.bundle.bundle import Bundle
from asr.bundle.tensors import fill
from asr.config import ModelSpec
from asr.errors import BundleError
from asr.features import build_frontend
from asr.text.tokenizer import Tokenizer
from asr.types import MAIN_TOKENIZER


@dataclass(frozen=True)
class ForeignModel:
    """A model of another toolkit as ours is described: everything but the network that runs it."""

    source: Path
    spec: ModelSpec
    tokenizer: Tokenizer
    tensors: Mapping[str, Tensor]  # under our names, floating
    dtype: torch.dtype  # of the source's weights; float32 where they were whole numbers

    def bundle(self) -> Bundle:
        """The model itself; BundleError if the tensors are not those that its configuration needs."""
        bundle = Bundle.build(self.spec, build_frontend(self.spec.frontend), {MAIN_TOKENIZER: self.tokenizer})
        fill(bundle.weights(), self.tensors, self.source)
        return bundle


class ForeignFormat(ABC):
    """One layout of files. Every reader is total: a tensor that is unknown or missing is an error that names it."""

    name: ClassVar[str]  # as people call it

    @abstractmethod
    def fits(self, path: Path) -> bool:
        """Whether a folder looks like one of this layout; it need not be whole."""

    @abstractmethod
    def read(self, path: Path) -> ForeignModel:
        """Read a folder; BundleError names what is missing, damaged or not supported."""


def refuse_leftovers(source: Path, names: Iterable[str]) -> None:
    """BundleError that names a tensor that was not read, if there is one."""
    if left := sorted(names):
        raise BundleError(f"{source}: tensor '{left[0]}' is unknown; this variant of the model is not supported")
