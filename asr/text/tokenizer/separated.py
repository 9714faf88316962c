"""Single characters, and a piece of its own between words: the vocabulary of wav2vec 2.0 and HuBERT."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Literal, Self

from asr.errors import TextError
from asr.registry import NamedConfig
from asr.text.tokenizer.base import TOKENIZERS, split_words
from asr.text.tokenizer.sentence_piece import SPECIAL_PIECES
from asr.text.tokenizer.stored import StoredTokenizer
from asr.text.vocabulary import Vocabulary

SEPARATOR = "|"
ROLES = ("blank", "unk", "sos", "eos")


class SeparatedConfig(NamedConfig):
    """Every character of the training texts, or the pieces of a pretrained model."""

    name: Literal["separated"] = "separated"


@TOKENIZERS.register(SeparatedConfig)
class SeparatedTokenizer(StoredTokenizer):
    """One token a character and one between words; pieces of several characters are read and never written."""

    word_boundary = "separator"

    def __init__(self, vocabulary: Vocabulary, separator: str = SEPARATOR) -> None:
        """TextError for a vocabulary without the separator."""
        super().__init__(vocabulary)
        if vocabulary.id(separator) in (None, vocabulary.unk):
            raise TextError(f"separated tokenizer: no piece is {separator!r}, which stands between words")
        self.boundary_mark = separator
        never = {*(vocabulary.piece(token) for token in vocabulary.control), separator}
        self._ids = {piece: token for token, piece in enumerate(vocabulary.pieces) if piece not in never}

    @classmethod
    def train(cls, config: NamedConfig, texts: Iterable[str]) -> Self:
        letters = {letter for text in texts for word in split_words(text) for letter in word} - {SEPARATOR}
        if not letters:
            raise TextError("separated tokenizer: there is no text to train on; all texts are empty")
        return cls(Vocabulary((*SPECIAL_PIECES, SEPARATOR, *sorted(letters)), blank=0, unk=1, sos=2, eos=3))

    @classmethod
    def deserialized(cls, content: bytes) -> Self:
        data = json.loads(content)
        roles = {role: None if data[role] is None else int(data[role]) for role in ROLES}
        control = frozenset(map(int, data["control"]))
        return cls(Vocabulary(tuple(map(str, data["pieces"])), **roles, control=control), data["separator"])

    def encode(self, text: str) -> list[int]:
        tokens: list[int] = []
        for word in split_words(text):
            ids = [self._ids.get(letter, self.vocabulary.unk) for letter in word]
            tokens += self.separator if tokens else ()
            tokens += [token for token in ids if token is not None]
        return tokens

    def serialized(self) -> bytes:
        own = self.vocabulary
        data: dict[str, Any] = {role: getattr(own, role) for role in ROLES}
        data |= {"control": sorted(own.control), "separator": self.boundary_mark, "pieces": own.pieces}
        return json.dumps(data, ensure_ascii=False).encode()
