"""A text to align: its lines as they were written, and as the tokens a model would write for them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from asr.bundle.bundle import Bundle
from asr.decoding.base import ctc_of
from asr.errors import TextError
from asr.system.text_files import read_text
from asr.text.normalize import APOSTROPHE, APOSTROPHES, normalize
from asr.text.tokenizer.base import Tokenizer, split_words

ANYTHING = -1  # the token of what a vocabulary cannot write, whatever it sounds like
SPOKEN_SYMBOLS = frozenset("%&@+=\u00b0\u00a7\u00b1\u00d7\u00f7\u2030\u2116")  # and those of currencies
_RULE = re.compile(r"([^\w\s])\1+")  # "***", "===": drawn, not spoken


@dataclass(frozen=True)
class ScriptWord:
    """A word as written, which may be several words when spoken: "3.5"."""

    text: str
    tokens: tuple[int, ...]  # at least one; ANYTHING where the vocabulary has no piece
    spaced: bool = True  # whether a space stands before it, unless it is the first

    @property
    def num_known(self) -> int:
        """The number of tokens that differ from a wildcard."""
        return sum(token != ANYTHING for token in self.tokens)


@dataclass(frozen=True)
class ScriptLine:
    """A line of the text."""

    number: int  # in the file, from 1
    words: tuple[ScriptWord, ...]  # at least one

    @property
    def text(self) -> str:
        """As written, with single spaces."""
        return text_of(self.words)

    @property
    def num_known(self) -> int:
        """The number of tokens that differ from a wildcard."""
        return sum(word.num_known for word in self.words)


def text_of(words: Sequence[ScriptWord]) -> str:
    """Words as one text."""
    return "".join(" " * (word.spaced and place > 0) + word.text for place, word in enumerate(words))


@dataclass(frozen=True)
class Layout:
    """Lines as one sequence of tokens, with a wildcard before, between and after them for what is in no line."""

    tokens: tuple[int, ...]
    words: tuple[tuple[tuple[int, int], ...], ...]  # first and one past the last token of each word of each line
    wildcards: tuple[int, ...]  # places of the wildcards around the lines


def read_script(path: Path, bundle: Bundle) -> list[ScriptLine]:
    """The lines of a text file that hold words; TextError if it cannot be read or holds none."""
    try:
        text = read_text(path)
    except OSError as error:
        raise TextError(f"{path}: cannot read the text ({error.strerror}); check the path") from error
    except UnicodeDecodeError as error:
        raise TextError(f"{path}: not UTF-8 text; convert it first") from error
    lines = [script_line(number, line, bundle) for number, line in enumerate(text.splitlines(), start=1)]
    if not (found := [line for line in lines if line.words]):
        raise TextError(f"{path}: there are no words in it to align")
    return found


def script_line(number: int, text: str, bundle: Bundle) -> ScriptLine:
    """A line and the tokens of its words, normalised as the training texts were.

    What is no sound, such as a dash, is written with the word before it, or the first one. For a model without CTC the
    text stays as it is, and words of scripts without spaces are characters.
    """
    if ctc_of(bundle.model.heads) is None:
        ids = bundle.tokenizer.encode(text)
        found = bundle.tokenizer.words(ids)
        return ScriptLine(
            number, tuple(ScriptWord(word.text, tuple(ids[word.start : word.stop]), word.spaced) for word in found)
        )
    words: list[ScriptWord] = []
    unspoken = ""
    for written in split_words(text):
        spoken = normalize(written, bundle.spec.normalize).split()
        if tokens := _tokens(spoken, ctc_tokenizer(bundle)):
            words.append(ScriptWord(unspoken + written, tokens))
            unspoken = ""
        elif words:
            words[-1] = ScriptWord(f"{words[-1].text} {written}", words[-1].tokens)
        else:
            unspoken += f"{written} "
    return ScriptLine(number, tuple(words))


def ctc_tokenizer(bundle: Bundle) -> Tokenizer:
    """The tokenizer of a model's CTC head, which need not be the main one."""
    ctc = ctc_of(bundle.model.heads)
    found = (tokenizer for tokenizer in bundle.tokenizers.values() if ctc and tokenizer.vocabulary == ctc.vocabulary)
    return next(found, bundle.tokenizer)


def unwritable_words(lines: Iterable[ScriptLine]) -> list[str]:
    """Words of which a model can write nothing, each once: they take whatever lies between the others."""
    return list(dict.fromkeys(word.text for line in lines for word in line.words if not word.num_known))


def lay_out(lines: Iterable[ScriptLine], separator: Sequence[int], wildcard: int) -> Layout:
    """Lines as tokens for alignment, `wildcard` for what can be anything."""
    tokens: list[int] = [wildcard]
    wildcards = [0]
    places = []
    for line in lines:
        words = []
        for index, word in enumerate(line.words):
            tokens += separator if index else ()
            words.append((len(tokens), len(tokens) + len(word.tokens)))
            tokens += (wildcard if token == ANYTHING else token for token in word.tokens)
        places.append(tuple(words))
        wildcards.append(len(tokens))
        tokens.append(wildcard)
    return Layout(tuple(tokens), tuple(places), tuple(wildcards))


def _tokens(words: Iterable[str], tokenizer: Tokenizer) -> tuple[int, ...]:
    """Tokens of a word as written that is spoken as `words`; none if it is no sound."""
    tokens: list[int] = []
    for word in words:
        for part in _sounds(_fit_case(word.translate(APOSTROPHES), tokenizer.alphabet), tokenizer):
            tokens += [*(tokenizer.separator if tokens else ()), *_encode(part, tokenizer)]
    return tuple(tokens)


def _encode(word: str, tokenizer: Tokenizer) -> list[int]:
    """Tokens of a word, ANYTHING for what they cannot write."""
    unk = tokenizer.vocabulary.unk
    if unk is None:
        return tokenizer.encode(word) if tokenizer.can_write(word) else [ANYTHING]
    ids = tokenizer.encode(word)
    if unk in ids:  # a space with nothing known behind it is no sound
        ids = [token for token in ids if token == unk or tokenizer.letters(token)]
    return [ANYTHING if token == unk else token for token in ids]


def _sounds(word: str, tokenizer: Tokenizer) -> list[str]:
    """The parts of a word that have a sound: marks that no piece writes separate or vanish, as the normalisers have it.

    A part without a letter or a digit is a sound only if it is a single symbol with a name, such as "&".
    """
    word = _RULE.sub(" ", word)
    unknown = tokenizer.unknown_characters(word)
    kept = "".join(
        character if character not in unknown or _is_spoken(character) else "" if _joins(character) else " "
        for character in word
    )
    parts = [part.strip(APOSTROPHE) for part in kept.split()]
    return [part for part in parts if any(map(str.isalnum, part)) or (len(part) == 1 and _is_spoken(part))]


def _is_spoken(character: str) -> bool:
    return character.isalnum() or character in SPOKEN_SYMBOLS or unicodedata.category(character) == "Sc"


def _joins(character: str) -> bool:
    """Whether what is before and after a mark is one word: apostrophes, accents, invisible characters."""
    return character == APOSTROPHE or unicodedata.category(character) in ("Mn", "Cf")


def _fit_case(word: str, known: frozenset[str]) -> str:
    """Letters in the case that a vocabulary has, if it has one."""
    return "".join(
        next((form for form in (letter, letter.upper(), letter.lower()) if form in known), letter) for letter in word
    )
