"""Texts without audio, as a language model learns from them: files of sentences, and batches of tokens."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from asr.data.dataset import pad_tokens
from asr.data.manifest import read_manifest
from asr.errors import TextError
from asr.system.paths import where_to_look
from asr.system.text_files import decode_text
from asr.text.normalize import normalize
from asr.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Sentence:
    """One sentence ready for a batch."""

    id: str  # the utterance's, or file:line
    tokens: Tensor  # (U,) int64, without start and end


@dataclass(frozen=True)
class SentenceBatch:
    """Sentences padded to the longest; what lies beyond a length is arbitrary and must not matter."""

    ids: tuple[str, ...]
    tokens: Tensor  # (B, U) int64, without start and end
    token_lens: Tensor  # (B,) int64
    num_predictions: int  # tokens and ends of all sentences, which a language model has to predict

    def to(self, device: torch.device) -> SentenceBatch:
        """The same batch on another device; the host does not wait for the copy."""
        on_host = (self.tokens, self.token_lens)
        if device.type == "cuda":
            on_host = (self.tokens.pin_memory(), self.token_lens.pin_memory())
        tokens, token_lens = (tensor.to(device, non_blocking=True) for tensor in on_host)
        return replace(self, tokens=tokens, token_lens=token_lens)

    @property
    def unreadable(self) -> tuple[()]:
        """Nobody: all sentences are in memory."""
        return ()

    def rows(self, start: int, end: int) -> SentenceBatch:
        """Some of the sentences, as padded as they are."""
        lens = self.token_lens[start:end]
        return SentenceBatch(self.ids[start:end], self.tokens[start:end], lens, int(lens.sum()) + len(lens))


def read_texts(path: Path) -> Iterator[tuple[str, str]]:
    """(id, text) of every text that is not blank: of a manifest if the name ends in .jsonl, else of each line.

    A name that ends in .gz is read through gzip. TextError if the file cannot be read or is not UTF-8, ManifestError
    for a manifest that is wrong.
    """
    if path.suffix == ".jsonl":
        texts = [(row.id, row.text) for row in read_manifest(path)]
    else:
        texts = [(f"{path}:{number}", line) for number, line in enumerate(_lines(path), start=1)]
    return ((id, text) for id, text in texts if text.strip())


def read_sentences(paths: Sequence[Path], tokenizer: Tokenizer, normalizer: str) -> list[Sentence]:
    """The sentences of all files, in order. TextError if there is none at all."""
    sentences = [
        Sentence(id, torch.tensor(tokenizer.encode(normalize(text, normalizer)), dtype=torch.int64))
        for path in paths
        for id, text in read_texts(path)
    ]
    if not sentences:
        raise TextError(f"{', '.join(map(str, paths))}: there is no text; give files with a sentence a line")
    return sentences


def texts_hash(paths: Sequence[Path]) -> str:
    """SHA-256 over the texts of files, in order, in hex: the same wherever the files lie."""
    digest = hashlib.sha256()
    for path in paths:
        for _, text in read_texts(path):
            digest.update(text.encode() + b"\n")
    return digest.hexdigest()


def collate_sentences(sentences: Sequence[Sentence]) -> SentenceBatch:
    """Sentences in the given order, padded with zeros; without any, a batch of no rows."""
    tokens, token_lens = pad_tokens([sentence.tokens for sentence in sentences])
    ids = tuple(sentence.id for sentence in sentences)
    return SentenceBatch(ids, tokens, token_lens, int(token_lens.sum()) + len(ids))


def _lines(path: Path) -> list[str]:
    try:
        content = path.read_bytes()
        return decode_text(gzip.decompress(content) if path.suffix == ".gz" else content).split("\n")
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise TextError(f"{path}: cannot read the text ({reason}){where_to_look(path)}") from error
    except UnicodeDecodeError as error:
        raise TextError(f"{path}: not UTF-8 text; convert the file") from error
