"""Raw PCM, samples without a header: the caller must say what they are."""

from __future__ import annotations

from dataclasses import dataclass

from asr.errors import ConfigError
from asr.registry import did_you_mean

# Name -> libsndfile's name of the encoding and of the byte order, bytes per sample.
ENCODINGS = {
    "s8": ("PCM_S8", "FILE", 1),
    "u8": ("PCM_U8", "FILE", 1),
    "s16le": ("PCM_16", "LITTLE", 2),
    "s16be": ("PCM_16", "BIG", 2),
    "s24le": ("PCM_24", "LITTLE", 3),
    "s24be": ("PCM_24", "BIG", 3),
    "s32le": ("PCM_32", "LITTLE", 4),
    "s32be": ("PCM_32", "BIG", 4),
    "f32le": ("FLOAT", "LITTLE", 4),
    "f32be": ("FLOAT", "BIG", 4),
    "ulaw": ("ULAW", "FILE", 1),
    "alaw": ("ALAW", "FILE", 1),
}
RAW_SUFFIXES = frozenset({".raw", ".pcm", ".ulaw", ".alaw", ".ul", ".al"})
MIN_SAMPLE_RATE = 1000  # Hz; below 500 Hz, all that is left, there is nothing to understand
MAX_SAMPLE_RATE = 655350  # Hz, what flac can say; more is a slip of the finger
MAX_CHANNELS = 64


@dataclass(frozen=True)
class RawFormat:
    """How samples without a header are to be read; ConfigError for what cannot be."""

    sample_rate: int  # Hz
    channels: int = 1  # interleaved
    encoding: str = "s16le"  # a name of `ENCODINGS`

    def __post_init__(self) -> None:
        if not MIN_SAMPLE_RATE <= self.sample_rate <= MAX_SAMPLE_RATE:
            raise ConfigError(f"raw sample rate {self.sample_rate} is impossible; it is in Hz, 8000 for instance")
        if not 0 < self.channels <= MAX_CHANNELS:
            raise ConfigError(f"{self.channels} raw channels are impossible; 1 to {MAX_CHANNELS} can be read")
        if self.encoding not in ENCODINGS:
            raise ConfigError(f"unknown raw encoding '{self.encoding}'{did_you_mean(self.encoding, ENCODINGS)}")

    @property
    def frame_bytes(self) -> int:
        """Bytes that one sample of all channels takes."""
        return ENCODINGS[self.encoding][2] * self.channels


def parse_raw_format(text: str) -> RawFormat:
    """RATE[:CHANNELS[:ENCODING]], as in 8000, 16000:2 or 8000:1:ulaw; ConfigError for anything else."""
    rate, *rest = text.split(":")
    numbers = [rate, *rest[:1]]
    if len(rest) > 2 or not all(number.isascii() and number.isdigit() and len(number) < 10 for number in numbers):
        raise ConfigError(f"'{text}' is no raw format; write RATE[:CHANNELS[:ENCODING]], as in 8000 or 16000:2:s16le")
    return RawFormat(*map(int, numbers), *rest[1:])  # type: ignore[arg-type]
