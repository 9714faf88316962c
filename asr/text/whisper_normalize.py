"""The normalisers that scores of Whisper are published with, through the package whisper-normalizer, which is optional.

`whisper-english`  Lower case, numbers as digits, contractions written out, British spelling made American, hesitations
                   and what stands in brackets gone (Radford et al. 2022, appendix C).
`whisper-basic`    For any language: lower case, and what is no letter or digit becomes a space, accents that are
                   characters of their own among it.

They are for scoring. Normalising twice may change a text again, so no model is trained with them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from asr.errors import TextError

EXTRA = "whisper-normalizer"


def english(text: str) -> str:
    """TextError where the package is missing."""
    return " ".join(_english()(text).split())


def basic(text: str) -> str:
    """TextError where the package is missing."""
    return " ".join(_basic()(text).split())


@cache
def _english() -> Callable[[str], str]:
    try:
        from whisper_normalizer.english import EnglishTextNormalizer
    except ImportError as error:
        raise _missing("whisper-english") from error
    made: Callable[[str], str] = EnglishTextNormalizer()
    return made


@cache
def _basic() -> Callable[[str], str]:
    try:
        from whisper_normalizer.basic import BasicTextNormalizer
    except ImportError as error:
        raise _missing("whisper-basic") from error
    made: Callable[[str], str] = BasicTextNormalizer()
    return made


def _missing(name: str) -> TextError:
    return TextError(
        f"normaliser '{name}' is that of the package {EXTRA}, which is not installed: "
        f"pip install {EXTRA}, or 'asr-toolkit[{EXTRA}]'"
    )
