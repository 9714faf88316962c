"""Speech recognition: prepare a corpus, train a model, transcribe audio, measure the word error rate.

The public face is small and lazy: importing `asr` imports nothing heavy until a name is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Recognizer", "SearchRequest", "__version__", "load_audio"]

if TYPE_CHECKING:
    from asr.audio.io import load_audio
    from asr.bundle.decode import SearchRequest
    from asr.transcribe.recognizer import Recognizer

_HOMES = {
    "Recognizer": "asr.transcribe.recognizer",
    "SearchRequest": "asr.bundle.decode",
    "load_audio": "asr.audio.io",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'asr' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
