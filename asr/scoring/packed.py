"""A million texts in little memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np
import numpy.typing as npt

_BLOCK = 4096  # texts packed together


class PackedTexts(Sequence[str]):
    """Strings kept as UTF-8 in blocks: as much memory as the file they came from, and appended to only.

    Going through them in order decodes every block once; the last block that was looked at stays decoded.
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._blocks: list[tuple[bytes, npt.NDArray[np.int64]]] = []  # joined texts, where each ends in characters
        self._tail: list[str] = []
        self._decoded: tuple[int, list[str]] = (-1, [])  # number of a block, its texts
        self.extend(texts)

    def extend(self, texts: Iterable[str]) -> None:
        """Add texts at the end."""
        self._tail.extend(texts)
        while len(self._tail) >= _BLOCK:
            block, self._tail = self._tail[:_BLOCK], self._tail[_BLOCK:]
            ends = np.cumsum([len(text) for text in block])
            self._blocks.append(("".join(block).encode("utf-8", "surrogatepass"), ends))

    def __len__(self) -> int:
        return len(self._blocks) * _BLOCK + len(self._tail)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> list[str]: ...
    def __getitem__(self, place: int | slice) -> str | list[str]:
        if isinstance(place, slice):
            return [self[row] for row in range(*place.indices(len(self)))]
        number, row = divmod(range(len(self))[place], _BLOCK)
        return self._block(number)[row]

    def __iter__(self) -> Iterator[str]:
        for number in range(len(self._blocks) + 1):
            yield from self._block(number)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PackedTexts) and len(self) == len(other) and all(map(str.__eq__, self, other))

    __hash__ = None  # type: ignore[assignment]

    def _block(self, number: int) -> list[str]:
        if number == len(self._blocks):
            return self._tail
        if self._decoded[0] != number:
            packed, ends = self._blocks[number]
            joined, start, texts = packed.decode("utf-8", "surrogatepass"), 0, []
            for end in ends.tolist():
                texts.append(joined[start:end])
                start = end
            self._decoded = (number, texts)
        return self._decoded[1]
