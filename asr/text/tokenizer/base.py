"""What every tokenizer can do, whatever its pieces are and however they mark where words begin."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple, Self

from asr.registry import NamedConfig, Registry
from asr.text.vocabulary import Vocabulary

SPACE = "\u2581"  # stands for a space inside pieces, as in sentencepiece
WordBoundary = Literal["prefix", "separator", "leading_space", "none"]


class WordSpan(NamedTuple):
    """A word and the tokens that spell it: `ids[start:stop]`."""

    text: str
    start: int
    stop: int  # exclusive
    spaced: bool = True  # whether a space stands before it, in scripts with spaces and unless it is the first


class Spelling:
    """How the pieces of a vocabulary spell words, and where words begin. `word_boundary` is one of

    - "prefix": the first piece of a word begins with a mark, U+2581 in sentencepiece;
    - "separator": a piece that is nothing but the mark stands between words, "|" in wav2vec 2.0;
    - "leading_space": the first piece of a word begins with a space, which byte-level pieces write as U+0120;
    - "none": texts have no spaces, as in Chinese; every piece is a word.

    In all of them a piece that begins with `boundary_mark` ends the word before it.
    """

    word_boundary: WordBoundary = "prefix"
    boundary_mark: str = SPACE  # empty for "none"

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary

    @property
    def vocab_size(self) -> int:
        """Number of tokens, those of roles included."""
        return len(self.vocabulary)

    @property
    def separator(self) -> tuple[int, ...]:
        """The tokens that stand between words; none where the first piece of a word holds the space before it."""
        if self.word_boundary != "separator":
            return ()
        token = self.vocabulary.id(self.boundary_mark)
        # a vocabulary made of texts of single words has no separator
        return (token,) if token is not None and token != self.vocabulary.unk else ()

    def starts_word(self, token: int) -> bool:
        """Whether a token ends the word before it: its piece begins another one, or is a separator."""
        return token not in self.vocabulary.control and self.vocabulary.piece(token).startswith(self.boundary_mark)

    def letters(self, token: int) -> str:
        """What a token writes, in letters of `spell` and without the mark before it; control ids write nothing."""
        return "" if token in self.vocabulary.control else self.vocabulary.piece(token).removeprefix(self.boundary_mark)

    def spell(self, text: str) -> str:
        """A word in the letters that `letters` gives: its characters, or for byte-level pieces one letter per byte."""
        return text

    def read(self, letters: str) -> str:
        """The word that letters spell, the opposite of `spell`."""
        return letters

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of token ids in 0..vocab_size-1, words joined by single spaces where the script has spaces."""
        return self.between_words.join(word.text for word in self.words(tokens))

    def words(self, tokens: Sequence[int]) -> list[WordSpan]:
        """The words of `decode`, each with the tokens from its first to its last that write a letter.

        A separator or a control id belongs to no word unless it lies inside one.
        """
        words: list[WordSpan] = []
        letters, start, stop = "", 0, 0
        for index, token in enumerate(tokens):
            if letters and self.starts_word(token):
                words.append(WordSpan(self.read(letters), start, stop))
                letters = ""
            if written := self.letters(token):
                start = start if letters else index
                letters, stop = letters + written, index + 1
        return [*words, WordSpan(self.read(letters), start, stop)] if letters else words

    @property
    def between_words(self) -> str:
        """What stands between the words of a text: a space, or nothing in a script without spaces."""
        return "" if self.word_boundary == "none" else " "

    @cached_property
    def alphabet(self) -> frozenset[str]:
        """Every letter, in the sense of `spell`, that a token writes."""
        return frozenset("".join(map(self.letters, range(len(self.vocabulary)))))

    def unknown_characters(self, text: str) -> tuple[str, ...]:
        """The characters of a text that no piece writes, each once, in order; white space is always known."""
        characters = dict.fromkeys("".join(split_words(text)))
        return tuple(character for character in characters if not self.alphabet.issuperset(self.spell(character)))


class Tokenizer(Spelling, ABC):
    """Texts to token ids and back.

    Words are what spaces separate: any run of white space counts as one space, those around the text do not count,
    and U+2581 counts as white space since it marks spaces inside pieces. For a text in that form whose pieces are all
    known, `decode(encode(text)) == text`. Encoded texts hold no blank, start or end; an unknown piece is `unk`, and is
    left out where the vocabulary has none.
    """

    is_trainable: ClassVar[bool] = True  # False of pieces that only pretrained models bring

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

    def written_words(self, text: str) -> list[WordSpan]:
        """The words of a text as written, each with those of the text's tokens that stand for it.

        Unlike the words of `decode` they have their unknown characters. A word without a token of its own goes with the
        one before or the first, as where two unknown words are one unknown token.
        """
        words: list[WordSpan] = []
        first, before, place = "", "", 0
        for word in split_words(text):
            tokens = self.encode(f"{before} {word}")[len(self.encode(before)) :]
            own = [i for i, token in enumerate(tokens, place) if token == self.vocabulary.unk or self.letters(token)]
            if own:
                words.append(WordSpan(first + word, own[0], own[-1] + 1))
                first = ""
            elif words:
                words[-1] = words[-1]._replace(text=f"{words[-1].text} {word}")
            else:
                first += f"{word} "
            before, place = word, place + len(tokens)
        return words

    def can_write(self, text: str) -> bool:
        """Whether the tokens of a text spell all of it."""
        return self.decode(self.encode(text)) == self.between_words.join(split_words(text))


def split_words(text: str) -> list[str]:
    """The words of a text as every tokenizer sees them."""
    return text.replace(SPACE, " ").split()


TOKENIZERS: Registry[type[Tokenizer]] = Registry("tokenizer")
