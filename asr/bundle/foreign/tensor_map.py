"""Tensors of one family of models under the names of another, each made when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from asr.errors import BundleError

Change = Callable[..., Tensor]


def as_it_is(tensor: Tensor) -> Tensor:
    """No change."""
    return tensor


@dataclass(frozen=True)
class _Rule:
    """How one of our tensors is made."""

    names: tuple[str, ...]
    change: Change


class TensorMap:
    """Says tensor by tensor where ours come from; `finish` tells which of the source's are unknown or missing."""

    def __init__(self, source: Path, tensors: Mapping[str, Tensor], spelling: Callable[[str], str] = str) -> None:
        """`spelling` makes the file's own name of one that is asked for, where several layouts share a map."""
        self.source = source
        self._tensors = tensors
        self._spelling = spelling
        self._left = set(tensors)
        self._rules: dict[str, _Rule] = {}

    @property
    def names(self) -> Collection[str]:
        """All of theirs as the file spells them, taken or not."""
        return self._tensors.keys()

    def num_layers(self, prefix: str) -> int:
        """How many layers have tensors: `prefix` stands before their numbers."""
        return count_layers(self.names, self._spelling(prefix))

    def take(self, own: str, *names: str, change: Change = as_it_is) -> None:
        """Our tensor `own` is `change` of theirs; BundleError for one that is missing."""
        for name in names:
            self._find(name)
        self._rules[own] = _Rule(tuple(map(self._spelling, names)), change)

    def pair(self, own: str, name: str, parts: Sequence[tuple[str, str]] = (("weight",) * 2, ("bias",) * 2)) -> None:
        """`take` for the tensors of one layer, each part under our name and theirs."""
        for ours, theirs in parts:
            self.take(f"{own}.{ours}", f"{name}.{theirs}")

    def drop(self, *names: str) -> None:
        """These may be there, and nothing here needs them."""
        self._left.difference_update(map(self._spelling, names))

    def require(self, name: str, holds: Callable[[Tensor], bool], complaint: str) -> None:
        """Theirs has no counterpart here, since it always has the same values; BundleError where it has others.

        A tensor without values, of torch's `meta` device, is taken at its name.
        """
        tensor = self._find(name)
        if tensor.device.type != "meta" and not holds(tensor):
            named = self._spelling(name)
            raise BundleError(f"{self.source}: tensor '{named}' {complaint}; this variant is not supported")

    def has(self, name: str) -> bool:
        """Whether there is such a tensor."""
        return self._spelling(name) in self._tensors

    def value(self, name: str) -> Tensor:
        """Theirs, also one that is taken already; BundleError for one that is missing."""
        own = self._spelling(name)
        if own not in self._tensors:
            raise BundleError(f"{self.source}: tensor '{own}' is missing; copy the file again")
        return self._tensors[own]

    def _find(self, name: str) -> Tensor:
        tensor = self.value(name)
        self._left.discard(self._spelling(name))
        return tensor

    def finish(self) -> Mapping[str, Tensor]:
        """Ours by name; BundleError that names one of theirs that nobody took, if there is one."""
        if self._left:
            unknown = min(self._left)
            raise BundleError(f"{self.source}: tensor '{unknown}' is unknown; this variant is not supported")
        return _Made(self._tensors, self._rules)


class _Made(Mapping[str, Tensor]):
    def __init__(self, tensors: Mapping[str, Tensor], rules: Mapping[str, _Rule]) -> None:
        self._tensors, self._rules = tensors, rules

    def __getitem__(self, own: str) -> Tensor:
        rule = self._rules[own]
        return rule.change(*(self._tensors[name] for name in rule.names))

    def __iter__(self) -> Iterator[str]:
        return iter(self._rules)

    def __len__(self) -> int:
        return len(self._rules)


def stack_rows(*tensors: Tensor) -> Tensor:
    """One below the other: queries, keys and values as one matrix."""
    return torch.cat(tensors)


def count_layers(names: Collection[str], prefix: str) -> int:
    """How many layers have tensors: `prefix` stands before their numbers."""
    numbers = (name.removeprefix(prefix).split(".")[0].split("/")[0] for name in names if name.startswith(prefix))
    return 1 + max((int(number) for number in numbers if number.isdecimal()), default=-1)
