"""A text to align: its lines as they were written, and as the tokens a model would write for them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from asr.bundle.bundle import Bundle
from asr.errors import TextError
from asr.text.normalize import normalize
from asr.text.tokenizer.base import SPACE, Tokenizer, split_words
from asr.text.vocabulary import UNK


@dataclass(frozen=True)
class ScriptWord:
    """A word as written, which may be several words when spoken: "3.5"."""

    text: str
    tokens: tuple[int, ...]  # at least one; UNK where the vocabulary has no piece

    @property
    def num_known(self) -> int:
        """Tokens that can be told from others."""
        return sum(token != UNK for token in self.tokens)


@dataclass(frozen=True)
class ScriptLine:
    """A line of the text."""

    number: int  # in the file, from 1
    words: tuple[ScriptWord, ...]  # at least one

    @property
    def text(self) -> str:
        """As written, words joined by single spaces."""
        return " ".join(word.text for word in self.words)

    @property
    def num_known(self) -> int:
        """Tokens that can be told from others."""
        return sum(word.num_known for word in self.words)


@dataclass(frozen=True)
class Layout:
    """Lines as one sequence of tokens, with a wildcard before, between and after them for what is in no line."""

    tokens: tuple[int, ...]
    words: tuple[tuple[tuple[int, int], ...], ...]  # first and one past the last token of each word of each line
    wildcards: tuple[int, ...]  # places of the wildcards around the lines


def read_script(path: Path, bundle: Bundle) -> list[ScriptLine]:
    """The lines of a text file that hold words; TextError if it cannot be read or holds none."""
    try:
        text = path.read_text(encoding="utf-8-sig")
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

    What the normaliser leaves nothing of, such as a dash, is written with the word before it, or the first one.
    """
    words: list[ScriptWord] = []
    unspoken = ""
    for written in split_words(text):
        spoken = normalize(written, bundle.spec.normalize).split()
        if tokens := _tokens(spoken, bundle.tokenizer):
            words.append(ScriptWord(unspoken + written, tokens))
            unspoken = ""
        elif words:
            words[-1] = ScriptWord(f"{words[-1].text} {written}", words[-1].tokens)
        else:
            unspoken += f"{written} "
    return ScriptLine(number, tuple(words))


def lay_out(lines: Iterable[ScriptLine], separator: Sequence[int]) -> Layout:
    """Lines as tokens for `forced_align`."""
    tokens: list[int] = [UNK]
    wildcards = [0]
    places = []
    for line in lines:
        words = []
        for index, word in enumerate(line.words):
            tokens += separator if index else ()
            words.append((len(tokens), len(tokens) + len(word.tokens)))
            tokens += word.tokens
        places.append(tuple(words))
        wildcards.append(len(tokens))
        tokens.append(UNK)
    return Layout(tuple(tokens), tuple(places), tuple(wildcards))


def _tokens(words: Sequence[str], tokenizer: Tokenizer) -> tuple[int, ...]:
    """Tokens of a word as written that is spoken as `words`."""
    tokens: list[int] = []
    for word in words:
        ids = tokenizer.encode(_fit_case(word, tokenizer.vocabulary.characters))
        if UNK in ids:  # a space with nothing known behind it is no sound
            ids = [token for token in ids if token == UNK or tokenizer.vocabulary.piece(token) != SPACE]
        tokens += [*(tokenizer.separator if tokens else ()), *ids]
    return tuple(tokens)


def _fit_case(word: str, known: frozenset[str]) -> str:
    """Letters in the case that the vocabulary knows, if it knows one."""
    return "".join(
        next((form for form in (letter, letter.upper(), letter.lower()) if form in known), letter) for letter in word
    )
