"""Tokenizers as other families have them: other numbers for the roles, other marks where words begin.

`Pieces` splits words by the longest piece that fits, which is enough for tests; it cannot be trained, saved or loaded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from asr.registry import NamedConfig
from asr.text.tokenizer.base import SPACE, Tokenizer, WordBoundary, split_words
from asr.text.vocabulary import Vocabulary

MARKS: dict[str, str] = {"prefix": SPACE, "separator": "|", "leading_space": "\u0120", "none": ""}


class Pieces(Tokenizer):
    """Any vocabulary with any word boundary."""

    def __init__(self, vocabulary: Vocabulary, boundary: WordBoundary = "prefix", mark: str | None = None) -> None:
        super().__init__(vocabulary)
        self.word_boundary = boundary
        self.boundary_mark = MARKS[boundary] if mark is None else mark
        self._longest = max(map(len, vocabulary.pieces))

    @classmethod
    def train(cls, config: NamedConfig, texts: Iterable[str]) -> Self:
        raise NotImplementedError

    @classmethod
    def load(cls, folder: Path, config: NamedConfig) -> Self:
        raise NotImplementedError

    def save(self, folder: Path) -> None:
        raise NotImplementedError

    @property
    def digest(self) -> str:
        return hashlib.sha256(repr((self.vocabulary, self.boundary_mark)).encode()).hexdigest()

    def encode(self, text: str) -> list[int]:
        tokens: list[int] = []
        for word in split_words(text):
            tokens += self.separator if tokens else ()
            tokens += self._split(("" if self.word_boundary == "separator" else self.boundary_mark) + self.spell(word))
        return tokens

    def _split(self, written: str) -> list[int]:
        tokens = []
        place = 0
        while place < len(written):
            for length in range(min(self._longest, len(written) - place), 0, -1):
                token = self.vocabulary.id(written[place : place + length])
                if token is not None and token not in self.vocabulary.control:
                    tokens.append(token)
                    break
            else:
                length = 1
                if self.vocabulary.unk is not None:
                    tokens.append(self.vocabulary.unk)
            place += length
        return tokens


class BytePieces(Pieces):
    """Pieces of bytes, each written as one printable character, as GPT-2 and Whisper have them."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        super().__init__(vocabulary, "leading_space")

    def spell(self, text: str) -> str:
        return "".join(_BYTE_LETTERS[byte] for byte in text.encode())

    def read(self, letters: str) -> str:
        return bytes(_BYTES[letter] for letter in letters).decode(errors="replace")


def _byte_letters() -> list[str]:
    """GPT-2's letter for each byte: the printable ones of Latin-1 are themselves, the others follow from U+0100."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) if byte in printable else chr(256 + others.index(byte)) for byte in range(256)]


_BYTE_LETTERS = _byte_letters()
_BYTES = {letter: byte for byte, letter in enumerate(_BYTE_LETTERS)}


def ours(pieces: Iterable[str] = (SPACE, *"ETAONRSHIDLU", SPACE + "T", "HE", SPACE + "THE")) -> Pieces:
    """The layout of this toolkit's own tokenizers."""
    return Pieces(Vocabulary(("<blank>", "<unk>", "<s>", "</s>", *pieces), blank=0, unk=1, sos=2, eos=3))


def wav2vec2() -> Pieces:
    """wav2vec 2.0: `<pad>` is the blank, "|" stands between words."""
    pieces = ("<pad>", "<s>", "</s>", "<unk>", "|", *"ETAONIHSRDLU'")
    return Pieces(Vocabulary(pieces, blank=0, sos=1, eos=2, unk=3), "separator")


def sherpa() -> Pieces:
    """icefall and sherpa-onnx: one id starts and ends sentences, words begin with U+2581."""
    pieces = ("<blk>", "<sos/eos>", "<unk>", SPACE + "T", "HE", SPACE + "THE", *"ETAONRSHIDLU", SPACE)
    return Pieces(Vocabulary(pieces, blank=0, unk=2, sos=1, eos=1))


def nemo() -> Pieces:
    """NeMo's CTC models: the blank comes last, and nothing starts or ends sentences."""
    pieces = ("<unk>", SPACE, *"ETAONRSHIDLU", SPACE + "THE", "<blk>")
    return Pieces(Vocabulary(pieces, blank=len(pieces) - 1, unk=0))


def whisper() -> BytePieces:
    """Whisper: bytes, the first of which is "!"; roles near the end, then ids for languages, tasks and timestamps."""
    merged = ("HE", "THE", "\u0120T", "\u0120THE")
    control = ("<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|zh|>", "<|transcribe|>", "<|notimestamps|>")
    times = tuple(f"<|{time / 50:.2f}|>" for time in range(3))
    first = len(_BYTE_LETTERS) + len(merged)
    pieces = (*sorted(_BYTE_LETTERS, key=lambda letter: (ord(letter) > 255, letter)), *merged, *control, *times)
    ids = frozenset(range(first, len(pieces)))
    return BytePieces(Vocabulary(pieces, sos=first + 1, eos=first, control=ids))


def characters() -> Pieces:
    """Chinese characters: no spaces, each is a word."""
    pieces = ("<blank>", "<unk>", *"\u65e5\u672c\u8a9e\u6771\u4eac", "<sos/eos>")
    return Pieces(Vocabulary(pieces, blank=0, unk=1, sos=7, eos=7), "none")


FOREIGN = {
    "wav2vec2": wav2vec2,
    "sherpa": sherpa,
    "nemo": nemo,
    "whisper": whisper,
    "characters": characters,
}
