"""What every tokenizer can do, whatever its pieces are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, Self

from asr.registry import NamedConfig, Registry
from asr.text.vocabulary import SPECIAL_PIECES, Vocabulary

SPACE = "\u2581"  # stands for a space inside pieces, as in sentencepiece


class WordSpan(NamedTuple):
    """A word and the tokens that spell it: `ids[start:stop]`."""

    text: str
    start: int
    stop: int  # exclusive


class Tokenizer(ABC):
    """Texts to token ids and back.

    Words are what spaces separate: any run of white space counts as one space, those around the text do not count,
    and U+2581 counts as white space since it marks spaces inside pieces. For a text in that form whose pieces are all
    known, `decode(encode(text)) == text`. Token ids never include BLANK, SOS or EOS; an unknown piece is UNK.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary

    @classmethod
    @abstractmethod
    def train(cls, config: NamedConfig, texts: Iterable[str]) -> Self:
        """See `train_tokenizer`."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path, config: NamedConfig) -> Self:
        """See `load_tokenizer`."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write `tokenizer.model`, and `tokens.txt` with a line "piece id" per token for people."""

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """Token ids of a text; [] for an empty one."""

    @property
    @abstractmethod
    def digest(self) -> str:
        """Hexadecimal; the same for tokenizers that do the same."""

    @property
    def separator(self) -> tuple[int, ...]:
        """The tokens that stand between words; none where the first piece of a word holds the space before it."""
        return ()

    @property
    def vocab_size(self) -> int:
        """Number of tokens, the four special ones included."""
        return len(self.vocabulary)

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of token ids in 0..vocab_size-1, words joined by single spaces; special ids write nothing."""
        return " ".join(word.text for word in self.words(tokens))

    def words(self, tokens: Sequence[int]) -> list[WordSpan]:
        """The words of `decode`, each with the tokens from its first to its last that write a character.

        A token that is only a space, or special, belongs to no word unless it lies inside one.
        """
        words: list[WordSpan] = []
        text, start, stop = "", 0, 0
        for index, token in enumerate(tokens):
            piece = self.vocabulary.piece(token) if token >= len(SPECIAL_PIECES) else ""
            if piece.startswith(SPACE) and text:
                words.append(WordSpan(text, start, stop))
                text = ""
            if letters := piece.removeprefix(SPACE):
                start = start if text else index
                text, stop = text + letters, index + 1
        return [*words, WordSpan(text, start, stop)] if text else words

    def unknown_characters(self, text: str) -> tuple[str, ...]:
        """The characters of a text that occur in no piece, each once, in order; white space is always known."""
        known = self.vocabulary.characters
        return tuple(dict.fromkeys(character for character in "".join(split_words(text)) if character not in known))


def split_words(text: str) -> list[str]:
    """The words of a text as every tokenizer sees them."""
    return text.replace(SPACE, " ").split()


TOKENIZERS: Registry[type[Tokenizer]] = Registry("tokenizer")
