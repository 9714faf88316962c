"""Batches that do not fit into memory, in parts that do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch failed for lack of memory, of a GPU or of the machine."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


@dataclass
class Parts:
    """How a batch is cut: utterances in each part, in order, and which parts of one utterance are left out."""

    sizes: list[int]
    left_out: list[int] = field(default_factory=list)  # first utterances of these parts

    def starts(self) -> list[int]:
        """The first utterance of every part."""
        return [sum(self.sizes[:number]) for number in range(len(self.sizes))]

    def shrink(self, start: int) -> None:
        """Cut the part that begins with this utterance into halves, or leave it out if there is nothing to cut."""
        number = self.starts().index(start)
        size = self.sizes[number]
        if size == 1:
            self.left_out.append(start)
        else:
            self.sizes[number : number + 1] = [size - size // 2, size // 2]

    def to_json(self, step: int, rank: int, batch: int) -> dict[str, Any]:
        """For the record of a run: the step (counted from 0), the rank, which batch of the rank's step, and the cut."""
        return {"step": step, "rank": rank, "batch": batch, "parts": self.sizes, "left_out": self.left_out}

    @classmethod
    def from_json(cls, entry: dict[str, Any]) -> Parts:
        """The cut of a record."""
        return cls(list(entry["parts"]), list(entry["left_out"]))


def describe_parts(entry: dict[str, Any]) -> str:
    """A record for people: `batch 0 of rank 1 as 4 + 2 + 2 utterances, 1 of them left out`."""
    left_out = f", {len(entry['left_out'])} of them left out" if entry["left_out"] else ""
    return (
        f"batch {entry['batch']} of rank {entry['rank']} as {' + '.join(map(str, entry['parts']))} utterances{left_out}"
    )
