"""What every encoder promises that can encode audio which is still coming in.

B streams, T feature frames, F features, S encoder frames, D model dim, c encoder frames of a chunk.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain

import torch
from torch import Tensor

from asr.errors import ConfigError
from asr.lengths import pad_stack
from asr.models.encoders.base import Encoder, Tap
from asr.nn.chunks import Chunking, Chunkings
from asr.types import EncoderOutput

Caches = tuple[Tensor, ...]
"""What an encoder remembers of B streams: tensors of B rows, whose sizes do not grow with the time."""


@dataclass(frozen=True)
class StreamState:
    """B streams between two pushes; never changed in place. Its size is bounded by chunk, context and sizes alone."""

    chunking: Chunking
    pending: tuple[Tensor, ...]  # of each stream the features (t, F) that do not make a chunk yet
    caches: Caches

    def select(self, index: Tensor) -> StreamState:
        """The state of the streams `index` (M,) int64, which may repeat, drop or permute them."""
        pending = tuple(self.pending[row] for row in index.tolist())
        return replace(self, pending=pending, caches=tuple(cache[index] for cache in self.caches))

    @staticmethod
    def join(states: Sequence[StreamState]) -> StreamState:
        """One state of all streams of several states, which may be of different ages, but not of other chunks."""
        assert len({state.chunking for state in states}) == 1, "streams of different chunks share no batch"
        caches = tuple(torch.cat(parts) for parts in zip(*(state.caches for state in states), strict=True))
        return replace(states[0], pending=tuple(chain.from_iterable(state.pending for state in states)), caches=caches)


class StreamingEncoder(Encoder):
    """An encoder that also takes features bit by bit: whatever the cuts, the frames are those of one masked pass.

    That pass is `forward` with `chunks`, within rounding; the frames of a chunk come once all of it is known. Where a
    chunk also waits for frames behind it, which come again with the next chunk, there is no such pass: every layer saw
    them. With more of them than there are frames, and all of the left context, it is `forward` without `chunks`.
    """

    looks_ahead: bool = False  # whether frames behind a chunk can tell it anything
    num_features: int

    @property
    def streams(self) -> bool:
        return True

    @abstractmethod
    def default_left_chunks(self, chunk_frames: int) -> int:
        """The left context that it was trained for, in chunks of so many encoder frames."""

    @abstractmethod
    def init_caches(self, rows: int, chunking: Chunking) -> Caches:
        """What it remembers before the first frame."""

    @abstractmethod
    def encode_chunk(
        self, features: Tensor, lens: Tensor, caches: Caches, chunking: Chunking, tap: Tap | None
    ) -> tuple[Tensor, Tensor, Caches]:
        """Frames (B, c, D) of a chunk, their lens (B,) and the next caches, from features (B, (c + right) * factor, F).

        Lens (B,) of features are at least 1; those below c * factor end a stream, whose caches are of no use then.
        """

    @abstractmethod
    def forward(
        self, features: Tensor, lens: Tensor, tap: Tap | None = None, chunks: Chunkings | None = None
    ) -> EncoderOutput:
        """See `Encoder`; with `chunks` no frame sees more than it would in a stream, otherwise attention sees all."""

    @property
    def default_right_frames(self) -> int:
        """The frames behind a chunk that it waits for, unless told otherwise; 0 for those that never look ahead."""
        return 0

    def init_state(
        self, rows: int, chunk_frames: int, left_chunks: int | None = None, right_frames: int | None = None
    ) -> StreamState:
        """So many streams before their first frame; ConfigError for an encoder that cannot stream.

        `left_chunks` None is the context that the encoder was trained for, `right_frames` None what its configuration
        says. Without attention there is nothing to be gained ahead.
        """
        if not self.streams:
            raise ConfigError("this encoder needs the whole utterance and cannot stream")
        if chunk_frames < 1:
            raise ConfigError(f"a chunk of {chunk_frames} encoder frames: at least one is needed")
        left = self.default_left_chunks(chunk_frames) if left_chunks is None else left_chunks
        right = self.default_right_frames if right_frames is None else right_frames
        chunking = Chunking(chunk_frames, left, right if self.looks_ahead else 0)
        device = next(self.parameters()).device
        nothing = torch.zeros(0, self.num_features, device=device)
        return StreamState(chunking, (nothing,) * rows, self.init_caches(rows, chunking))

    def step(
        self,
        features: Tensor,
        lens: Tensor,
        state: StreamState,
        is_last: Sequence[bool],
        tap: Tap | None = None,
    ) -> tuple[EncoderOutput, StreamState]:
        """Take the next features (B, T, F), of lens (B,) from 0 on; give the frames that are complete with them.

        Whoever `is_last` gets all the rest; nothing may come after.
        """
        waiting = [
            torch.cat([before.to(row.dtype), row[:length]])
            for before, row, length in zip(state.pending, features, lens.tolist(), strict=True)
        ]
        size, caches = state.chunking.frames * self.subsampling_factor, state.caches
        seen = size + state.chunking.right * self.subsampling_factor
        done: list[list[Tensor]] = [[] for _ in waiting]
        while rows := [row for row, one in enumerate(waiting) if len(one) >= seen or (is_last[row] and len(one) > 0)]:
            chunks = [waiting[row][:seen] for row in rows]
            padded, chunk_lens = pad_stack([*chunks, padded_to(seen, chunks[0])])
            chosen = torch.tensor(rows, device=features.device)
            own = caches if len(rows) == len(waiting) else tuple(cache[chosen] for cache in caches)
            chunk_lens = chunk_lens[:-1].to(features.device)
            frames, frame_lens, own = self.encode_chunk(padded[:-1], chunk_lens, own, state.chunking, tap)
            caches = own if len(rows) == len(waiting) else _written(caches, chosen, own)
            for row, one, length in zip(rows, frames, frame_lens.tolist(), strict=True):
                done[row].append(one[:length])
                waiting[row] = waiting[row][size:]
        nothing = next(self.parameters()).new_zeros(0, self.output_dim)
        frames, frame_lens = pad_stack([torch.cat([nothing, *parts]) for parts in done])
        output = EncoderOutput(frames, frame_lens.to(features.device), host_lens=frame_lens)
        pending = tuple(one.clone() for one in waiting)  # a view would keep a long push alive
        return output, replace(state, pending=pending, caches=caches)


def padded_to(size: int, like: Tensor) -> Tensor:
    """A row (size, F) of nothing, which makes the others as long."""
    return like.new_zeros(size, like.shape[1])


def _written(caches: Caches, rows: Tensor, own: Caches) -> Caches:
    """The caches with new values for some streams."""
    return tuple(cache.index_copy(0, rows, new.to(cache.dtype)) for cache, new in zip(caches, own, strict=True))
