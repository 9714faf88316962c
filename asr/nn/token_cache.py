"""Keys and values of the tokens that a decoder has read, in memory that is made once and filled step by step.

N rows of a search, H heads, E numbers a head, P tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from asr.nn.kernels import is_traced

FIRST_ROOM = 32  # tokens that a new cache has room for; twice as many whenever it is full


class LayerTokens:
    """The tokens of one layer while a step is made: room (N, H, R, E) for keys and values, and which place is next."""

    def __init__(self, keys: Tensor, values: Tensor, place: int) -> None:
        self.keys = keys
        self.values = values
        self._place = place

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Take in a token (N, H, 1, E); keys and values (N, H, P, E), and which may be looked at, None for all."""
        if is_traced():  # a graph writes into nothing that it was given, and its sizes do not depend on the place
            places = torch.arange(self.keys.shape[2], device=key.device)
            is_next = (places == self._place)[:, None]
            self.keys, self.values = torch.where(is_next, key, self.keys), torch.where(is_next, value, self.values)
            return self.keys, self.values, (places <= self._place)[None]
        stop = self._place + 1
        self.keys[:, :, self._place] = key[:, :, 0]
        self.values[:, :, self._place] = value[:, :, 0]
        return self.keys[:, :, :stop], self.values[:, :, :stop], None


@dataclass(frozen=True)
class TokenCache:
    """Of all layers. Several states of a search may share one: each knows how many of its tokens are its own.

    A new token is written behind a state's own. Where another state has done so already, the step gets a copy, so that
    what a state sees never changes.
    """

    keys: Tensor  # (layers, N, H, R, E)
    values: Tensor
    written: Tensor  # (1,) on the CPU: how many tokens states have written, which is the one thing that changes

    @classmethod
    def empty(cls, num_layers: int, like: Tensor, dtype: torch.dtype | None = None) -> TokenCache:
        """For the rows, heads, device and, unless another is given, type of `like` (N, H, S, E)."""
        rows, heads, _, size = like.shape
        room = like.new_zeros(2, num_layers, rows, heads, FIRST_ROOM, size, dtype=dtype)
        return cls(room[0], room[1], torch.zeros(1, dtype=torch.int64))

    def opened(self, position: int) -> tuple[list[LayerTokens], Callable[[], TokenCache]]:
        """Layers with `position` tokens that take in one more, and a function that gives the cache afterwards."""
        if is_traced():
            layers = [
                LayerTokens(*both, position) for both in zip(self.keys.unbind(), self.values.unbind(), strict=True)
            ]
            return layers, lambda: TokenCache(
                torch.stack([layer.keys for layer in layers]),
                torch.stack([layer.values for layer in layers]),
                torch.full_like(self.written, position + 1),
            )
        cache = self
        if int(self.written) != position or position >= self.keys.shape[3]:
            cache = _copied(self.keys[:, :, :, :position], self.values[:, :, :, :position])
        cache.written.fill_(position + 1)
        pairs = zip(cache.keys.unbind(), cache.values.unbind(), strict=True)
        return [LayerTokens(*both, position) for both in pairs], lambda: cache

    def select(self, index: Tensor, position: int) -> TokenCache:
        """The first `position` tokens of the rows `index` (M,)."""
        return _copied(self.keys[:, index, :, :position], self.values[:, index, :, :position])


def _copied(keys: Tensor, values: Tensor) -> TokenCache:
    """A cache of its own with these tokens and room for more."""
    layers, rows, heads, length, size = keys.shape
    room = FIRST_ROOM
    while room <= length:
        room *= 2
    made = keys.new_zeros(2, layers, rows, heads, room, size)
    made[0, :, :, :, :length] = keys
    made[1, :, :, :, :length] = values
    return TokenCache(made[0], made[1], torch.full((1,), length))
