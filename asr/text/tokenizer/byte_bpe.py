"""Byte-pair encoding of bytes (Radford et al. 2019, "Language models are unsupervised multitask learners"; Whisper's).

Pieces are bytes, each written as one printable letter, so that any text can be written. They come from elsewhere: a
piece's id is its rank, the order in which pieces are joined.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from asr.errors import TextError
from asr.registry import NamedConfig
from asr.text.tokenizer.base import TOKENIZERS, WordSpan, split_words
from asr.text.tokenizer.stored import StoredTokenizer
from asr.text.tokenizer.word_breaks import Character, split_into_words
from asr.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    import tiktoken

# How GPT-2 splits a text before pieces are joined: endings, words, numbers, other characters, white space.
SPLIT = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def _byte_letters() -> tuple[str, ...]:
    """GPT-2's letter for each byte: the printable ones of Latin-1 are themselves, the others follow from U+0100."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return tuple(chr(byte) if byte in printable else chr(256 + others.index(byte)) for byte in range(256))


BYTE_LETTERS = _byte_letters()
BYTES = {letter: byte for byte, letter in enumerate(BYTE_LETTERS)}


class ByteBpeConfig(NamedConfig):
    """Pieces of bytes, read from a pretrained model."""

    name: Literal["byte_bpe"] = "byte_bpe"


@TOKENIZERS.register(ByteBpeConfig)
class ByteBpeTokenizer(StoredTokenizer):
    """Whisper's tokens: case and punctuation are part of a text, and the first piece of a word begins with a space."""

    is_trainable: ClassVar[bool] = False
    word_boundary = "leading_space"
    boundary_mark = BYTE_LETTERS[ord(" ")]

    def __init__(self, vocabulary: Vocabulary) -> None:
        """TextError unless the pieces that write text are the first ones, made of letters of bytes, with all bytes."""
        super().__init__(vocabulary)
        if vocabulary.sos is None or vocabulary.eos is None:
            raise TextError("byte_bpe tokenizer: a start and an end of sentence are needed")
        written = [piece for token, piece in enumerate(vocabulary.pieces) if token not in vocabulary.control]
        if foreign := next((piece for piece in written if not BYTES.keys() >= set(piece)), None):
            raise TextError(f"byte_bpe tokenizer: piece {foreign!r} is not made of letters that stand for bytes")
        if missing := set(BYTE_LETTERS) - set(written):
            raise TextError(f"byte_bpe tokenizer: no piece writes byte {BYTES[min(missing)]} alone")

    @classmethod
    def train(cls, config: NamedConfig, texts: Iterable[str]) -> Self:
        raise TextError("byte_bpe tokenizer: it comes with pretrained models and cannot be trained; use bpe")

    @classmethod
    def deserialized(cls, content: bytes) -> Self:
        data = json.loads(content)
        pieces, control = tuple(map(str, data["pieces"])), frozenset(map(int, data["control"]))
        return cls(Vocabulary(pieces, sos=data["sos"], eos=data["eos"], control=control))

    def encode(self, text: str) -> list[int]:
        words = split_words(text)
        return self._encoding.encode_ordinary(" " + " ".join(words)) if words else []

    def spell(self, text: str) -> str:
        return "".join(BYTE_LETTERS[byte] for byte in text.encode(errors="replace"))

    def read(self, letters: str) -> str:
        return bytes(BYTES[letter] for letter in letters).decode(errors="replace")

    def decode(self, tokens: Sequence[int]) -> str:
        return " ".join("".join(character for character, _, _ in self._characters(tokens)).split())

    def words(self, tokens: Sequence[int]) -> list[WordSpan]:
        """The words of `decode` in any script (`asr.text.tokenizer.word_breaks`).

        Where a token writes several characters without a space between them, or parts of two, words share it.
        """
        return split_into_words(self._characters(tokens))

    def _characters(self, tokens: Sequence[int]) -> Iterator[Character]:
        """What tokens write; what is no UTF-8 becomes U+FFFD."""
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        first = stop = 0  # tokens of a character that is not complete
        for place, token in enumerate(tokens):
            if token in self.vocabulary.control:
                continue
            for letter in self.vocabulary.piece(token):
                if not decoder.getstate()[0]:
                    first = place
                stop = place + 1
                for character in decoder.decode(bytes((BYTES[letter],))):
                    yield character, first, stop
        for character in decoder.decode(b"", final=True):
            yield character, first, stop

    @cached_property
    def _encoding(self) -> tiktoken.Encoding:
        import tiktoken  # only texts that are encoded need it

        ranks = {
            bytes(BYTES[letter] for letter in piece): token
            for token, piece in enumerate(self.vocabulary.pieces)
            if token not in self.vocabulary.control
        }
        return tiktoken.Encoding("byte_bpe", pat_str=SPLIT, mergeable_ranks=ranks, special_tokens={})

    def serialized(self) -> bytes:
        own = self.vocabulary
        data: dict[str, Any] = {"sos": own.sos, "eos": own.eos, "control": sorted(own.control), "pieces": own.pieces}
        return json.dumps(data, ensure_ascii=False).encode()


def whisper_vocabulary(pieces: Sequence[str]) -> Vocabulary:
    """The roles of Whisper's pieces: all from the end of text on are control ids; TextError where they are missing."""
    roles = ("<|startoftranscript|>", "<|endoftext|>")
    if missing := [role for role in roles if role not in pieces]:
        raise TextError(f"no vocabulary of Whisper: it has no piece {missing[0]}")
    sos, eos = map(list(pieces).index, roles)
    return Vocabulary(tuple(pieces), sos=sos, eos=eos, control=frozenset(range(eos, len(pieces))))
