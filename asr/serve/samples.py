"""Samples from the bytes of messages, in the encodings that clients send."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Decode = Callable[[bytes], np.ndarray]


class Samples:
    """Takes pieces whose cuts need not fall between two samples."""

    def __init__(self, encoding: str) -> None:
        """`encoding` is a key of ENCODINGS."""
        self._width, self._decode = ENCODINGS[encoding]
        self._rest = b""

    def take(self, message: bytes) -> np.ndarray:
        """The samples (N,) float32 in [-1, 1] that are complete by now."""
        content = self._rest + message
        whole = len(content) // self._width * self._width
        self._rest = content[whole:]
        return self._decode(content[:whole])


def _pcm16(content: bytes) -> np.ndarray:
    return np.frombuffer(content, "<i2").astype(np.float32) / np.float32(32768)


def _float32(content: bytes) -> np.ndarray:
    return np.frombuffer(content, "<f4").astype(np.float32)


def _mulaw_table() -> np.ndarray:
    """G.711, mu-law: (256,) float32, the value of each byte."""
    code = ~np.arange(256) & 0xFF
    magnitude = (((code & 0x0F) << 3) + 0x84 << ((code >> 4) & 7)) - 0x84
    return (np.where(code & 0x80, -magnitude, magnitude) / 32768).astype(np.float32)


def _alaw_table() -> np.ndarray:
    """G.711, A-law: (256,) float32, the value of each byte."""
    code = np.arange(256) ^ 0x55
    segment = (code >> 4) & 7
    low = ((code & 0x0F) << 4) + 8
    magnitude = np.where(segment == 0, low, (low + 0x100) << np.maximum(segment - 1, 0))
    return (np.where(code & 0x80, magnitude, -magnitude) / 32768).astype(np.float32)


MULAW, ALAW = _mulaw_table(), _alaw_table()


def _mulaw(content: bytes) -> np.ndarray:
    return MULAW[np.frombuffer(content, np.uint8)]


def _alaw(content: bytes) -> np.ndarray:
    return ALAW[np.frombuffer(content, np.uint8)]


# bytes of a sample, and what makes samples of them
ENCODINGS: dict[str, tuple[int, Decode]] = {
    "s16le": (2, _pcm16),
    "f32le": (4, _float32),
    "mulaw": (1, _mulaw),
    "alaw": (1, _alaw),
}
