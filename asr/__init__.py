"""Speech recognition: prepare a corpus, train a model, transcribe audio, measure the word error rate.

The public face is small and lazy: importing `asr` imports nothing heavy until a name is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Recognizer", "__version__", "load_audio"]

if TYPE_CHECKING:
    from asr.audio.io import load_audio
    from asr.transcribe.recognizer import Recognizer


def __getattr__(name: str) -> Any:
    if name == "Recognizer":
        from asr.transcribe.recognizer import Recognizer

        return Recognizer
    if name == "load_audio":
        from asr.audio.io import load_audio

        return load_audio
    raise AttributeError(f"module 'asr' has no attribute {name!r}")
