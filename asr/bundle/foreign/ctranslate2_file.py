"""CTranslate2's model.bin, mapped into memory.

Little endian: version; since version 2 the name and the revision of what is stored; the variables (name, shape, type,
values); since version 3 further names of them. A text is its length in two bytes, the bytes and a zero. Before version
4 a variable says how wide its items are, and their number, where later ones say which type, and the number of bytes:
items of one, two and four bytes were int8, int16 and float32. Matrices of whole numbers have scales: a value is number
/ scale, with one scale for each row (int8) or for all (int16).
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from asr.errors import BundleError

NEWEST_VERSION = 6
DTYPES = (torch.float32, torch.int8, torch.int16, torch.int32, torch.float16, torch.bfloat16)
OLD_DTYPES = {1: torch.int8, 2: torch.int16, 4: torch.float32}  # by width, before version 4
SCALE = "_scale"


class DamagedFileError(Exception):
    """What stands in the file cannot be what it should be; the message says what."""


@dataclass(frozen=True)
class _Place:
    """Where the values of a variable stand."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    start: int
    num_bytes: int


class Variables(Mapping[str, Tensor]):
    """The variables of a file by all their names; values are copied out of it when they are asked for."""

    def __init__(self, source: Path, spec: str) -> None:
        """BundleError for a file that is missing, damaged or holds another model than a `spec`."""
        self.source = source
        try:
            with open(source, "rb") as file:
                content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise BundleError(f"{source}: cannot read the model ({error.strerror})") from error
        except ValueError as error:
            raise BundleError(f"{source}: is empty; copy the file again") from error
        self._content = content
        try:
            self._places = _Reader(content, source, spec).places()
        except (DamagedFileError, UnicodeDecodeError) as error:
            raise BundleError(
                f"{source}: damaged, or no model of CTranslate2 ({error}); copy the file again"
            ) from error

    def __getitem__(self, name: str) -> Tensor:
        place = self._places[name]
        if not place.num_bytes:
            return torch.zeros(place.shape, dtype=place.dtype)
        values = bytearray(memoryview(self._content)[place.start : place.start + place.num_bytes])
        return torch.frombuffer(values, dtype=place.dtype).reshape(place.shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def numbers(self) -> dict[str, float]:
        """The variables that are single numbers."""
        return {name: self[name].item() for name, place in self._places.items() if not place.shape}

    def tables(self, leave_out: Collection[str] = ()) -> Tables:
        """The variables with a shape."""
        return Tables(self, {name for name, place in self._places.items() if place.shape} - set(leave_out))

    def is_whole(self, name: str) -> bool:
        """Whether a variable holds whole numbers."""
        return not self._places[name].dtype.is_floating_point


class Tables(Mapping[str, Tensor]):
    """Variables with a shape as numbers of floating point: whole numbers are divided by their scales."""

    def __init__(self, variables: Variables, names: set[str]) -> None:
        whole = {name for name in names if variables.is_whole(name)}
        for name in sorted(whole):
            if name + SCALE not in variables:
                raise BundleError(f"{variables.source}: tensor '{name + SCALE}' is missing; copy the file again")
        self._variables, self._whole = variables, whole
        self._names = sorted(names - {name + SCALE for name in whole})

    def __getitem__(self, name: str) -> Tensor:
        values = self._variables[name]
        if name not in self._whole:
            return values
        scale = self._variables[name + SCALE].float()
        if scale.numel() not in (1, len(values)):
            raise BundleError(f"{self._variables.source}: tensor '{name + SCALE}' does not fit '{name}'; copy it again")
        return values.float() / scale.reshape(-1, *[1] * (values.dim() - 1))

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class _Reader:
    """Reads the parts of a file in their order; DamagedFileError where one cannot be."""

    def __init__(self, content: mmap.mmap, source: Path, spec: str) -> None:
        self._content = content
        self._place = 0
        self._source = source
        self._spec = spec

    def places(self) -> dict[str, _Place]:
        """Where all variables stand, by all their names."""
        version = self._number(4)
        if not 1 <= version <= NEWEST_VERSION:
            known = f"versions 1 to {NEWEST_VERSION} are known"
            raise BundleError(f"{self._source}: version {version} of the format, {known}; or it is no such file")
        if version >= 2:
            spec = self._text()
            self._number(4)  # its revision
            if spec != self._spec:
                raise BundleError(f"{self._source}: holds a '{spec}', supported is {self._spec}")
        found: dict[str, _Place] = {}
        for _ in range(self._number(4)):
            name, place = self._variable(version)
            if name in found:
                raise DamagedFileError(f"variable '{name}' comes twice")
            found[name] = place
        aliases = [(self._text(), self._text()) for _ in range(self._number(4))] if version >= 3 else []
        for alias, target in aliases:
            if target not in found:
                raise DamagedFileError(f"'{alias}' is another name of '{target}', which is missing")
            for suffix in ("", SCALE):
                if target + suffix in found:
                    found[alias + suffix] = found[target + suffix]
        if self._place != len(self._content):
            raise DamagedFileError("something follows the variables")
        return found

    def _variable(self, version: int) -> tuple[str, _Place]:
        name = self._text()
        shape = tuple(self._number(4) for _ in range(self._number(1)))
        if version >= 4:
            code = self._number(1)
            if code >= len(DTYPES):
                raise DamagedFileError(f"variable '{name}' has an unknown type {code}")
            dtype, num_bytes = DTYPES[code], self._number(4)
        else:
            width = self._number(1)
            if width not in OLD_DTYPES:
                raise DamagedFileError(f"variable '{name}' has items of {width} bytes")
            dtype, num_bytes = OLD_DTYPES[width], width * self._number(4)
        if math.prod(shape) * dtype.itemsize != num_bytes:
            raise DamagedFileError(f"variable '{name}' of shape {shape} has {num_bytes} bytes")
        return name, _Place(shape, dtype, self._skip(num_bytes), num_bytes)

    def _text(self) -> str:
        length = self._number(2)
        start = self._skip(length)
        return self._content[start : start + length].decode().rstrip("\0")

    def _number(self, size: int) -> int:
        start = self._skip(size)
        return int.from_bytes(self._content[start : start + size], "little")

    def _skip(self, number: int) -> int:
        """Go on by so many bytes; where they start."""
        if self._place + number > len(self._content):
            raise DamagedFileError("the file ends too early")
        self._place += number
        return self._place - number
