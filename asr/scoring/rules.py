"""How texts are compared: normaliser, alignment and sclite's options, all of it on record with the score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from asr.errors import ScoringError
from asr.registry import did_you_mean
from asr.scoring.alignment import levenshtein
from asr.scoring.sclite import sclite

ALIGNERS: dict[str, Callable[[Sequence[str], Sequence[str]], str]] = {"levenshtein": levenshtein, "sclite": sclite}


@dataclass(frozen=True)
class Rules:
    """What is done to both sides before and while their words are aligned."""

    normalize: str = "none"  # a normaliser of asr.text.normalize
    align: str = "levenshtein"  # or sclite
    markup: bool = False  # { a / b / @ } are alternatives and (uh) may be left out, see asr.scoring.markup
    hesitations: tuple[str, ...] = ()  # words that are dropped
    split_hyphens: bool = False  # "age-old" is two words
    merge_compounds: bool = False  # "data base" and "database" are the same

    def __post_init__(self) -> None:
        if self.align not in ALIGNERS:
            raise ScoringError(f"unknown alignment '{self.align}'{did_you_mean(self.align, ALIGNERS)}")

    @property
    def is_plain(self) -> bool:
        """Whether words are compared as the normaliser leaves them."""
        return not (self.markup or self.hesitations or self.split_hyphens or self.merge_compounds)

    def to_json(self) -> dict[str, Any]:
        """The keys of a score that tell how it came about."""
        return {
            "align": self.align,
            "normalize": self.normalize,
            "markup": self.markup,
            "hesitations": list(self.hesitations),
            "split_hyphens": self.split_hyphens,
            "merge_compounds": self.merge_compounds,
        }
