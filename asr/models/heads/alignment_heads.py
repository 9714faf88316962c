"""Which attention heads of Whisper's decoders follow the audio word by word, and how far each is ahead or behind.

`PUBLISHED` are (layer, head), both from 0, of openai/whisper (whisper/__init__.py, `_ALIGNMENT_HEADS`, MIT), decoded.
Each head looks at a part of a word of its own: some at its beginning, others past its end. `DELAYS` say how many
seconds after the middle of a word the attention of each peaks, measured by tools/benchmarks/attention_delays.py on
training clips of AN4 and speechocean762 against alignments by CTC. With them the starts of words of base are 30 ms off
in the middle, without 90.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from asr.registry import Config

Place = tuple[int, int]  # layer, head


class AlignmentHead(Config):
    """A head whose attention tells where words are."""

    layer: Annotated[int, Field(ge=0)]  # counted from 0
    head: Annotated[int, Field(ge=0)]  # of that layer, counted from 0
    delay: float = 0.0  # seconds from the middle of a word to the peak of the attention of its first token


PUBLISHED: dict[str, tuple[Place, ...]] = {
    "tiny.en": ((1, 0), (2, 0), (2, 5), (3, 0), (3, 1), (3, 2), (3, 3), (3, 4)),
    "tiny": ((2, 2), (3, 0), (3, 2), (3, 3), (3, 4), (3, 5)),
    "base.en": ((3, 3), (4, 7), (5, 1), (5, 5), (5, 7)),
    "base": ((3, 1), (4, 2), (4, 3), (4, 7), (5, 1), (5, 2), (5, 4), (5, 6)),
    "small.en": (
        *((6, 6), (7, 0), (7, 3), (7, 8), (8, 2), (8, 5), (8, 7), (9, 0), (9, 4), (9, 8), (9, 10), (10, 0), (10, 1)),
        *((10, 2), (10, 3), (10, 6), (10, 11), (11, 2), (11, 4)),
    ),
    "small": ((5, 3), (5, 9), (8, 0), (8, 4), (8, 7), (8, 8), (9, 0), (9, 7), (9, 9), (10, 5)),
    "medium.en": (
        *((11, 4), (14, 1), (14, 12), (14, 14), (15, 4), (16, 0), (16, 4), (16, 9), (17, 12), (17, 14), (18, 7)),
        *((18, 10), (18, 15), (20, 0), (20, 3), (20, 9), (20, 14), (21, 12)),
    ),
    "medium": ((13, 15), (15, 4), (15, 15), (16, 1), (20, 0), (23, 4)),
    "large-v2": (
        *((10, 12), (13, 17), (16, 11), (16, 12), (16, 13), (17, 15), (17, 16), (18, 4), (18, 11), (18, 19), (19, 11)),
        *((21, 2), (21, 3), (22, 3), (22, 9), (22, 12), (23, 5), (23, 7), (23, 13), (25, 5), (26, 1), (26, 12)),
        (27, 15),
    ),
    "large-v3": ((7, 0), (10, 17), (12, 18), (13, 12), (16, 1), (17, 14), (19, 11), (21, 4), (24, 1), (25, 6)),
    "large-v3-turbo": ((2, 4), (2, 11), (3, 3), (3, 6), (3, 11), (3, 14)),
}
# Layers, heads of a layer and tokens of the published models; distilled ones, of which nobody published any, differ.
SIZES = {
    (4, 6, 51864): "tiny.en",
    (4, 6, 51865): "tiny",
    (6, 8, 51864): "base.en",
    (6, 8, 51865): "base",
    (12, 12, 51864): "small.en",
    (12, 12, 51865): "small",
    (24, 16, 51864): "medium.en",
    (24, 16, 51865): "medium",
    (32, 20, 51865): "large-v2",
    (32, 20, 51866): "large-v3",
    (4, 20, 51866): "large-v3-turbo",
}
DELAYS: dict[str, tuple[float, ...]] = {
    "tiny.en": (0.34, 0.18, 0.06, 0.18, 0.14, -0.10, -0.06, 0.14),
    "base": (-0.14, -0.22, -0.26, -0.04, -0.10, -0.68, -0.06, -0.02),
}


def alignment_heads(
    given: Sequence[Sequence[int]] | None, num_layers: int, num_heads: int, num_tokens: int
) -> tuple[AlignmentHead, ...]:
    """The heads of a Whisper decoder: those that come with a model, else those published for one of its sizes.

    Without either none: `default_heads` then.
    """
    own = tuple((int(layer), int(head)) for layer, head in given or ())
    places = own or PUBLISHED.get(SIZES.get((num_layers, num_heads, num_tokens), ""), ())
    name = next((name for name, published in PUBLISHED.items() if published == places), "")
    delays = DELAYS.get(name, (0.0,) * len(places))
    return tuple(
        AlignmentHead(layer=layer, head=head, delay=delay)
        for (layer, head), delay in zip(places, delays, strict=True)
        if layer < num_layers and head < num_heads
    )


def default_heads(num_layers: int, num_heads: int) -> tuple[AlignmentHead, ...]:
    """All heads of the last half of the layers, for a decoder of which nobody knows better."""
    layers = range(num_layers // 2, num_layers)
    return tuple(AlignmentHead(layer=layer, head=head) for layer in layers for head in range(num_heads))
