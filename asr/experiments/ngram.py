"""What `asr lm train` does for n-grams: texts in, an ARPA file and a report out."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from asr.bundle.bundle import Bundle
from asr.bundle.store import find_model
from asr.data.manifest import read_manifest
from asr.errors import LmError
from asr.lm.ngram.arpa import open_binary, write_arpa
from asr.lm.ngram.counts import SPECIAL_WORDS, IdCorpus
from asr.lm.ngram.kneser_ney import OrderSummary, estimate
from asr.lm.ngram.model import BOS_WORD, EOS_WORD, Perplexity, perplexity
from asr.system.display import clock, counted
from asr.text.normalize import normalize
from asr.text.tokenizer.base import split_words

Spell = Callable[[str], list[str]]  # a text as the words of the language model


@dataclass(frozen=True)
class NgramSettings:
    """How to train an n-gram model."""

    order: int = 3
    prune: tuple[int, ...] = (0,)  # by order, the last for all further ones: n-grams that occur so often are dropped
    vocab_size: int | None = None  # the most frequent words stay
    vocab: Path | None = None  # a file with a word a line: these words stay
    tokens: Path | None = None  # a model folder, whose tokens are then the words
    normalizer: str = "none"


@dataclass(frozen=True)
class NgramReport:
    """The outcome of training."""

    num_sentences: int
    num_words: int
    num_unknown: int
    orders: tuple[OrderSummary, ...]
    dev: Perplexity | None
    seconds: float

    def table(self) -> Table:
        """N-grams and discounts by order."""
        seen = f"{counted(self.num_words, 'word')} in {counted(self.num_sentences, 'sentence')}"
        unknown = f", {self.num_unknown} of them outside the vocabulary" if self.num_unknown else ""
        table = Table(title=f"{seen}{unknown}; {clock(self.seconds)}", title_justify="left")
        for column in ("order", "n-grams", "kept", "discounts of counts 1, 2, 3 and more"):
            table.add_column(column, justify="right")
        for order, summary in enumerate(self.orders, 1):
            discounts = "  ".join(f"{discount:.3f}" for discount in summary.discounts)
            table.add_row(str(order), str(summary.num_seen), str(summary.num_kept), discounts)
        return table

    def dev_line(self) -> str:
        """Perplexity on held-out text; empty without one."""
        if self.dev is None:
            return ""
        dev = self.dev
        return (
            f"held-out perplexity {dev.total:.2f}, {dev.known:.2f} without unknown words; "
            f"{dev.num_unknown} of {counted(dev.num_words, 'word')} unknown ({100 * dev.unknown_rate:.2f} %)"
        )


def parse_prune(text: str) -> tuple[int, ...]:
    """Thresholds from "0,0,1" or "0 0 1"; LmError if they are no numbers."""
    fields = text.replace(",", " ").split()
    if not all(field.isascii() and field.isdigit() for field in fields):
        raise LmError(f"prune '{text}': expected a number for each order, e.g. 0,0,1")
    return tuple(map(int, fields))


def train_ngram(texts: Sequence[Path], out: Path, settings: NgramSettings, dev: Path | None = None) -> NgramReport:
    """Train on all texts, write the model as an ARPA file (gzipped if `out` ends in .gz), and try it on `dev`.

    A text is a file of lines, gzipped or not, or a manifest (.jsonl). AsrError names what cannot be read or used.
    """
    if not out.name.endswith((".arpa", ".arpa.gz")):
        raise LmError(f"{out}: the name of a language model ends in .arpa or .arpa.gz")
    start = time.monotonic()
    spell = _speller(settings)
    only = None if settings.vocab is None else _read_words(settings.vocab)
    dev_sentences = None if dev is None else list(read_sentences([dev], spell))  # a bad file shows before the work
    if dev is not None and not dev_sentences:
        raise LmError(f"{dev}: there is no text to measure perplexity on; all lines are empty")
    with IdCorpus(read_sentences(texts, spell)) as corpus:
        vocabulary = only if settings.vocab_size is None else corpus.most_frequent(settings.vocab_size, only)
        counts = corpus.count(settings.order, vocabulary)
    trained = estimate(counts, settings.prune)
    write_arpa(out, trained.model)
    return NgramReport(
        num_sentences=corpus.num_sentences,
        num_words=corpus.num_words,
        num_unknown=int(counts.counts[0][0]),
        orders=trained.orders,
        dev=None if dev_sentences is None else perplexity(trained.model, dev_sentences),
        seconds=time.monotonic() - start,
    )


def read_sentences(paths: Iterable[Path], spell: Spell) -> Iterator[list[str]]:
    """The sentences of files in order, empty ones left out.

    LmError as `path:line: ...` for what is no text, ManifestError for manifests.
    """
    for path in paths:
        for number, text in enumerate(_texts(path), 1):
            words = spell(text)
            if BOS_WORD in words or EOS_WORD in words:
                raise LmError(
                    f"{path}:{number}: <s> and </s> stand for the ends of sentences; take them out of the text"
                )
            if words:
                yield words


def _texts(path: Path) -> Iterator[str]:
    """A text for each line of a file."""
    if path.suffix == ".jsonl":
        yield from (utterance.text for utterance in read_manifest(path))
        return
    number = 0
    try:
        with open_binary(path) as file:
            for number, line in enumerate(file, 1):
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise LmError(f"{path}:{number}: not UTF-8 text; convert the file") from error
    except (OSError, EOFError, zlib.error) as error:
        raise LmError(f"{path}: cannot read the text ({getattr(error, 'strerror', None) or error})") from error


def _speller(settings: NgramSettings) -> Spell:
    normalize("", settings.normalizer)  # an unknown name shows before any text is read
    if settings.tokens is not None:
        tokenizer = Bundle.load(find_model(settings.tokens)).tokenizer
        pieces = tokenizer.vocabulary.pieces
        return lambda text: [pieces[token] for token in tokenizer.encode(normalize(text, settings.normalizer))]
    if settings.normalizer == "none":
        return split_words
    return lambda text: split_words(normalize(text, settings.normalizer))


def _read_words(path: Path) -> set[str]:
    words = set()
    for number, line in enumerate(_texts(path), 1):
        fields = split_words(line)
        if len(fields) > 1:
            raise LmError(f"{path}:{number}: {len(fields)} words in a line of a vocabulary; write one a line")
        words.update(fields)
    if not words.difference(SPECIAL_WORDS):
        raise LmError(f"{path}: the vocabulary is empty; write one word a line")
    return words
