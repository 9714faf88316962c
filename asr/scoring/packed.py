"""A million texts in little memory."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import overload


class PackedTexts(Sequence[str]):
    """Texts of one line each, kept as UTF-8 in blocks: as much memory as the file they came from.

    Going through them in order decodes every block once; the block that was looked at last stays decoded.
    """

    def __init__(self) -> None:
        self._blocks: list[bytes] = []
        self._starts = [0]  # of each block, and where the next one will
        self._decoded: tuple[int, list[str]] = (-1, [])  # number of a block, its texts

    def append_lines(self, lines: bytes, count: int) -> None:
        """Add a block of lines, each with its end."""
        self._blocks.append(lines)
        self._starts.append(self._starts[-1] + count)

    def __len__(self) -> int:
        return self._starts[-1]

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> list[str]: ...
    def __getitem__(self, place: int | slice) -> str | list[str]:
        if isinstance(place, slice):
            return [self[row] for row in range(*place.indices(len(self)))]
        row = range(len(self))[place]
        number = bisect_right(self._starts, row) - 1
        return self._block(number)[row - self._starts[number]]

    def __iter__(self) -> Iterator[str]:
        for number in range(len(self._blocks)):
            yield from self._block(number)

    def _block(self, number: int) -> list[str]:
        if self._decoded[0] != number:
            texts = self._blocks[number].decode("utf-8", "surrogatepass").split("\n")
            del texts[-1]  # what follows the last line end
            self._decoded = (number, texts)
        return self._decoded[1]


def pack_lines(texts: Sequence[str]) -> bytes:
    """Texts without line ends as UTF-8 lines, each with its end."""
    return "\n".join([*texts, ""]).encode("utf-8", "surrogatepass")
