"""Tokenizers whose whole state is one file: how it is written, and told from a damaged copy."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from pathlib import Path
from typing import Self

from asr.errors import BundleError, TextError
from asr.registry import NamedConfig
from asr.system.runtime import atomic_path, write_text_atomic
from asr.text.tokenizer.base import Tokenizer

MODEL_FILE = "tokenizer.model"
PIECES_FILE = "tokens.txt"
DAMAGE = (ValueError, KeyError, TypeError, RuntimeError, TextError)  # what bytes of another file raise


class StoredTokenizer(Tokenizer):
    """A tokenizer whose state is the bytes of `tokenizer.model`; `tokens.txt` beside it lists the pieces for people."""

    @abstractmethod
    def serialized(self) -> bytes:
        """All that `load` needs, the content of `tokenizer.model`."""

    @classmethod
    @abstractmethod
    def deserialized(cls, content: bytes) -> Self:
        """The tokenizer of what `serialized` gave; any of DAMAGE for other bytes."""

    @classmethod
    def load(cls, folder: Path, config: NamedConfig) -> Self:
        path = folder / MODEL_FILE
        try:
            tokenizer = cls.deserialized(path.read_bytes())
        except OSError as error:
            raise BundleError(f"{path}: cannot read the tokenizer ({error.strerror})") from error
        except DAMAGE as error:
            raise BundleError(f"{path}: not a {config.name} tokenizer, or damaged; copy the model again") from error
        tokenizer.require_own_pieces(folder)
        return tokenizer

    def save(self, folder: Path) -> None:
        with atomic_path(folder / MODEL_FILE) as temporary:
            temporary.write_bytes(self.serialized())
        write_text_atomic(folder / PIECES_FILE, self._pieces_text())

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.serialized()).hexdigest()

    def require_own_pieces(self, folder: Path) -> None:
        """BundleError if the folder's `tokens.txt` lists other pieces; it may be missing."""
        listed = folder / PIECES_FILE
        if listed.is_file() and listed.read_bytes() != self._pieces_text().encode():
            raise BundleError(
                f"{folder / MODEL_FILE}: does not hold the tokens of {PIECES_FILE} beside it; copy the model again"
            )

    def _pieces_text(self) -> str:
        return "".join(f"{piece} {token}\n" for token, piece in enumerate(self.vocabulary.pieces))
