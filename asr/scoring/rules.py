"""How texts are compared: normaliser, alignment and sclite's options, all of it on record with the score."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asr.errors import ScoringError
from asr.registry import did_you_mean
from asr.scoring.alignment import HIT, levenshtein
from asr.scoring.sclite.alignment import sclite
from asr.scoring.sclite.compounds import read_compounds
from asr.scoring.sclite.markup import has_marks, read_marks
from asr.scoring.sclite.network import COSTS, Network, align_networks
from asr.system.text_files import read_text
from asr.text.normalize import normalize

ALIGNERS: dict[str, Callable[[Sequence[str], Sequence[str]], str]] = {"levenshtein": levenshtein, "sclite": sclite}


_HYPHEN = re.compile(r"(?<=\w)-+(?=\w)")


@dataclass(frozen=True)
class Rules:
    """What is done to both sides before and while their words are aligned."""

    normalize: str = "none"  # a normaliser of asr.text.normalize
    align: str = "levenshtein"  # or sclite
    markup: bool = False  # { a / b / @ } are alternatives and (uh) may be left out, see asr.scoring.sclite.markup
    hesitations: tuple[str, ...] = ()  # words that are dropped, as they are after normalising
    split_hyphens: bool = False  # "age-old" is two words; a hyphen at either end of a word stays
    merge_compounds: bool = False  # "data base" and "database" are the same, see asr.scoring.sclite.compounds

    def __post_init__(self) -> None:
        if self.align not in ALIGNERS:
            raise ScoringError(f"unknown alignment '{self.align}'{did_you_mean(self.align, ALIGNERS)}")

    @property
    def is_plain(self) -> bool:
        """Whether words are compared as the normaliser leaves them."""
        return not (self.markup or self.hesitations or self.split_hyphens or self.merge_compounds)

    def compare(self, reference: str, hypothesis: str) -> tuple[str, str, str]:
        """Both sides as they are compared, with single spaces, and the operations between their words.

        TextError on an unknown normaliser, ScoringError on marks that cannot be read.
        """
        if not self.markup or not (has_marks(reference) or has_marks(hypothesis)):
            source, target = self._clean(reference), self._clean(hypothesis)
            if source == target:
                return source, target, HIT * (source.count(" ") + 1 if source else 0)
            if not self.merge_compounds:
                return source, target, ALIGNERS[self.align](source.split(), target.split())
            networks = Network.of_words(source.split()), Network.of_words(target.split())
        else:
            networks = self._read(reference), self._read(hypothesis)
        *sides, operations = self._align(*networks)
        source, target = map(" ".join, sides)
        return source, target, operations

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

    def describe(self) -> str:
        """The same in a few words, for captions."""
        options = ("markup", "hesitations", "split_hyphens", "merge_compounds")
        chosen = [name.replace("_", " ") for name in options if getattr(self, name)]
        return ", ".join([f"normalize {self.normalize}", f"align {self.align}", *chosen])

    def _clean(self, text: str) -> str:
        text = normalize(text, self.normalize)
        if self.split_hyphens:
            text = _HYPHEN.sub(" ", text)
        if self.hesitations:
            text = " ".join(word for word in text.split() if word not in self.hesitations)
        return text

    def _read(self, text: str) -> Network:
        return read_marks(text, lambda run: self._clean(run).split())

    def _align(self, reference: Network, hypothesis: Network) -> tuple[list[str], list[str], str]:
        if self.merge_compounds:
            hypothesis = read_compounds(reference, hypothesis)
        source, target = reference.words, hypothesis.words
        if source is None or target is None:
            return align_networks(reference, hypothesis, COSTS[self.align])
        return source, target, ALIGNERS[self.align](source, target)


def read_hesitations(words: str, normalizer: str = "none") -> tuple[str, ...]:
    """Words separated by commas, or one a line in the file of that name, as they are after normalising."""
    path = Path(words)
    if not path.is_file():
        names = words.split(",")
    else:
        try:
            names = read_text(path).splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ScoringError(f"{path}: cannot read the hesitations ({error})") from error
    cleaned = (normalize(name, normalizer) for name in names)
    return tuple(dict.fromkeys(name for name in cleaned if name))
