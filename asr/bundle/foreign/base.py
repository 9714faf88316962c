"""What a reader of pretrained models in the layout of another toolkit promises, and the registry of all of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from pydantic import ValidationError
from torch import Tensor

from asr.bundle.bundle import Bundle, tokenizer_folder
from asr.bundle.folder import CONFIG_FILE, WEIGHTS_FILE
from asr.bundle.foreign.origin import Origin
from asr.bundle.tensors import fill, save_tensors
from asr.bundle.whole_numbers import WholeTensors
from asr.config import ModelSpec, dump_yaml
from asr.errors import BundleError
from asr.features import build_frontend
from asr.registry import Config
from asr.system.runtime import write_text_atomic
from asr.text.tokenizer import Tokenizer
from asr.types import MAIN_TOKENIZER

AnyConfig = TypeVar("AnyConfig", bound=Config)


@dataclass(frozen=True)
class ForeignModel:
    """A model of another toolkit as ours is described: everything but the network that runs it."""

    source: Path  # the file of the weights, or the folder where there are several
    origin: Origin
    spec: ModelSpec
    tokenizers: Mapping[str, Tokenizer]  # by name; the main one is MAIN_TOKENIZER
    tensors: Mapping[str, Tensor]  # under our names, floating, in the source's type; each is read when it is asked for

    @property
    def tokenizer(self) -> Tokenizer:
        """The main tokenizer."""
        return self.tokenizers[MAIN_TOKENIZER]

    @property
    def num_parameters(self) -> int:
        """Numbers in all tensors."""
        return sum(tensor.numel() for tensor in self.tensors.values())

    def bundle(self) -> Bundle:
        """The model itself in float32, in evaluation mode.

        BundleError if the tensors are not those that its configuration needs.
        """
        bundle = Bundle.build(self.spec, build_frontend(self.spec.frontend), self.tokenizers)
        fill(bundle.weights(), self.tensors, self.source)
        bundle.frontend.eval()
        bundle.model.eval()
        return bundle

    def save(self, folder: Path) -> None:
        """Write a model folder, the weights tensor by tensor, so that little more than the largest is in memory.

        BundleError, before anything is written, if the tensors are not those that the configuration needs.
        """
        frontend = build_frontend(self.spec.frontend)
        with torch.device("meta"):  # shapes alone
            wanted = Bundle.build(self.spec, frontend, self.tokenizers).weights()
        tensors = _Checked(self.source, self.tensors, wanted)
        save_tensors(folder / WEIGHTS_FILE, WholeTensors(tensors))
        for name, tokenizer in self.tokenizers.items():
            own_folder = tokenizer_folder(folder, name)
            own_folder.mkdir(parents=True, exist_ok=True)
            tokenizer.save(own_folder)
        write_text_atomic(folder / CONFIG_FILE, dump_yaml(self.spec))


class _Checked(Mapping[str, Tensor]):
    """Tensors that are looked at as they are read: BundleError for another shape and for values that are no numbers."""

    def __init__(self, source: Path, tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
        for name in sorted(wanted.keys() ^ tensors.keys()):
            problem = "missing" if name in wanted else "unknown"
            raise BundleError(f"{source}: tensor '{name}' is {problem}; the file does not fit its configuration")
        self._source, self._tensors = source, tensors
        self._shapes = {name: tensor.shape for name, tensor in wanted.items()}

    def __getitem__(self, name: str) -> Tensor:
        tensor = self._tensors[name]
        if tensor.shape != self._shapes[name]:
            shapes = f"{tuple(tensor.shape)}, the configuration says {tuple(self._shapes[name])}"
            raise BundleError(f"{self._source}: tensor '{name}' has shape {shapes}")
        if not bool(torch.isfinite(tensor).all()):
            raise BundleError(f"{self._source}: tensor '{name}' holds NaN or infinity; copy the file again")
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


class ForeignFormat(ABC):
    """One layout of files. Every reader is total: a tensor that is unknown or missing is an error that names it."""

    name: ClassVar[str]  # as people call it

    @abstractmethod
    def fits(self, path: Path) -> bool:
        """Whether a folder or a file looks like one of this layout; it need not be whole."""

    @abstractmethod
    def read(self, path: Path) -> ForeignModel:
        """Read a folder or a file; BundleError names what is missing, damaged or not supported."""

    def is_archive(self, path: Path) -> bool:
        """Whether the weights are a torch archive: those are read where a person asks for that very file, alone."""
        return False


FORMATS: list[ForeignFormat] = []


def register(layout: type[ForeignFormat]) -> type[ForeignFormat]:
    """Class decorator: from now on folders that fit are read by this class."""
    FORMATS.append(layout())
    return layout


def configure(build: Callable[..., AnyConfig], source: Path, **settings: Any) -> AnyConfig:
    """A configuration from what a foreign file says; BundleError names the file and the setting that is impossible."""
    try:
        return build(**settings)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        reason = f"{place}: {first['msg']}" if place else str(first["msg"])
        raise BundleError(f"{source}: {reason}; damaged, or a variant that is not supported") from error
