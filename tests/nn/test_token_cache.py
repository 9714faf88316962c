"""Keys and values of tokens: what a state sees never changes, and equals a plain concatenation."""

from __future__ import annotations

import torch

from asr.nn.token_cache import FIRST_ROOM, TokenCache

LAYERS, ROWS, HEADS, SIZE = 2, 3, 2, 4


def added(cache: TokenCache, position: int, tokens: torch.Tensor) -> TokenCache:
    layers, after = cache.opened(position)
    for layer, own in zip(layers, tokens, strict=True):
        layer.append(own, own + 1)
    return after()


def tokens(seed: int, rows: int = ROWS) -> torch.Tensor:
    return torch.randn(LAYERS, rows, HEADS, 1, SIZE, generator=torch.Generator().manual_seed(seed))


def seen(cache: TokenCache, position: int) -> torch.Tensor:
    return cache.keys[:, :, :, :position]


def test_a_cache_holds_the_tokens_in_their_order_beyond_its_first_room() -> None:
    cache, all_tokens = TokenCache.empty(LAYERS, tokens(0)[0]), [tokens(place) for place in range(2 * FIRST_ROOM + 3)]
    for place, own in enumerate(all_tokens):
        cache = added(cache, place, own)
    assert torch.equal(seen(cache, len(all_tokens)), torch.cat(all_tokens, dim=3))
    assert torch.equal(cache.values[:, :, :, : len(all_tokens)], torch.cat(all_tokens, dim=3) + 1)


def test_two_continuations_of_one_state_do_not_see_each_other() -> None:
    start = added(TokenCache.empty(LAYERS, tokens(0)[0]), 0, tokens(0))
    one, other = added(start, 1, tokens(1)), added(start, 1, tokens(2))
    assert torch.equal(seen(one, 2), torch.cat([tokens(0), tokens(1)], dim=3))
    assert torch.equal(seen(other, 2), torch.cat([tokens(0), tokens(2)], dim=3))
    further = added(one, 2, tokens(3))
    assert torch.equal(seen(further, 3), torch.cat([tokens(0), tokens(1), tokens(3)], dim=3))
    assert torch.equal(seen(start, 1), tokens(0))


def test_selected_rows_may_repeat_and_go_on_by_themselves() -> None:
    start = added(TokenCache.empty(LAYERS, tokens(0)[0]), 0, tokens(0))
    chosen = start.select(torch.tensor([2, 2, 0, 1]), 1)
    further = added(chosen, 1, tokens(5, rows=4))
    assert torch.equal(seen(further, 1), tokens(0)[:, [2, 2, 0, 1]])
    assert torch.equal(seen(added(start, 1, tokens(1)), 2), torch.cat([tokens(0), tokens(1)], dim=3))
