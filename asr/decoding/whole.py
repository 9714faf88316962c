"""Frames that wait until their utterance is whole, for searches that decode it all at once."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import torch
from torch import Tensor

from asr.decoding.base import Prompt, Search, SearchState
from asr.decoding.prompts import complete_prompts
from asr.lengths import pad_stack, padding_mask
from asr.types import EncoderOutput, Hypothesis


@dataclass(frozen=True)
class Waiting(SearchState):
    """All frames of B utterances so far, and their prompts."""

    prompts: tuple[Prompt, ...]
    device: torch.device
    chunks: tuple[EncoderOutput, ...] = ()  # B rows each

    def add(self, encoded: EncoderOutput) -> Waiting:
        """With the next frames of every row."""
        return replace(self, chunks=(*self.chunks, encoded))

    def select(self, index: Tensor) -> Waiting:
        """See `SearchState`."""
        chunks = tuple(EncoderOutput(chunk.frames[index], chunk.lens[index]) for chunk in self.chunks)
        return replace(self, prompts=tuple(self.prompts[row] for row in index.tolist()), chunks=chunks)

    @staticmethod
    def join(states: Sequence[Waiting]) -> Waiting:
        """See `SearchState`."""
        prompts = tuple(chain.from_iterable(state.prompts for state in states))
        like = next((chunk.frames for state in states for chunk in state.chunks), None)
        chunks = [state._joined(like) for state in states]
        frames = list(chain.from_iterable(chunk.frames.unbind(0) for chunk in chunks))
        lens = torch.cat([chunk.lens for chunk in chunks])
        return replace(states[0], prompts=prompts, chunks=(EncoderOutput(pad_stack(frames)[0], lens),))

    def readable(self) -> EncoderOutput:
        """All frames (B, S, D) so far. Rows with a frame that is no number count as having none."""
        encoded = self._joined()
        if not encoded.frames.numel():
            return encoded
        padding = padding_mask(encoded.lens, encoded.frames.shape[1])
        is_number = encoded.frames.amax(-1).isfinite()  # one impossible token among possible ones is no fault
        return EncoderOutput(encoded.frames, encoded.lens.masked_fill(~(is_number | padding).all(1), 0))

    def _joined(self, like: Tensor | None = None) -> EncoderOutput:
        """One chunk for all; without any frames, those of type and size as in `like`."""
        if not self.chunks:
            lens = torch.zeros(len(self.prompts), dtype=torch.int64, device=self.device)
            frames = torch.zeros(1, 0, 0, device=self.device) if like is None else like
            return EncoderOutput(frames.new_zeros(len(lens), 0, frames.shape[2]), lens)
        if len(self.chunks) == 1:
            return self.chunks[0]
        lens_of = [chunk.lens.tolist() for chunk in self.chunks]
        rows = [
            torch.cat([chunk.frames[row, : lens[row]] for chunk, lens in zip(self.chunks, lens_of, strict=True)])
            for row in range(len(self.prompts))
        ]
        return EncoderOutput(pad_stack(rows)[0], torch.stack([chunk.lens for chunk in self.chunks]).sum(0))


class WholeSearch(Search[Waiting]):
    """A search over a decoder that needs the whole utterance: `advance` collects frames, `finish` decodes them.

    `partial` can tell nothing.
    """

    @abstractmethod
    def decode(self, encoded: EncoderOutput, prompts: Sequence[Prompt]) -> list[list[Hypothesis]]:
        """N-best lists of utterances with their prompts, none of them empty; some may be without frames."""

    def start(
        self, rows: int, prompts: Sequence[Prompt | None] | None = None, device: torch.device | str = "cpu"
    ) -> Waiting:
        """See `Search`."""
        completed = complete_prompts(rows, prompts, self.vocabulary, self.default_prompt)
        return Waiting(completed, torch.device(device))

    def advance(self, state: Waiting, encoded: EncoderOutput) -> Waiting:
        """Collect the next frames."""
        return state.add(encoded)

    def partial(self, state: Waiting) -> list[tuple[int, ...]]:
        """() for every utterance."""
        return [()] * len(state.prompts)

    def finish(self, state: Waiting) -> list[list[Hypothesis]]:
        """Decode all frames."""
        encoded = state.readable()
        n_best = self.decode(encoded, state.prompts)
        if self.read is None:
            return n_best
        lens = encoded.lens.tolist()
        return [
            distinct(self.read(hypothesis, prompt, length) for hypothesis in hypotheses)
            for hypotheses, prompt, length in zip(n_best, state.prompts, lens, strict=True)
        ]


def distinct(hypotheses: Iterable[Hypothesis]) -> list[Hypothesis]:
    """The first of each text."""
    found: dict[tuple[int, ...], Hypothesis] = {}
    for hypothesis in hypotheses:
        found.setdefault(hypothesis.tokens, hypothesis)
    return list(found.values())
