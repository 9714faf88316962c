"""What the four tokenizers share: a sentencepiece model (Kudo & Richardson 2018, https://arxiv.org/abs/1808.06226).

Texts are normalised before they get here, so sentencepiece's own normalisation is off and every character counts.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import Field
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer

from asr.errors import BundleError, TextError
from asr.registry import NamedConfig
from asr.text.tokenizer.base import split_words
from asr.text.tokenizer.stored import MODEL_FILE, StoredTokenizer
from asr.text.vocabulary import Vocabulary

SPECIAL_PIECES = ("<blank>", "<unk>", "<s>", "</s>")  # the first ids of these tokenizers, and of no other's
BLANK, UNK, SOS, EOS = range(4)

# One thread: sums of floats, and with them the pieces, would depend on the number of threads.
TRAINER_OPTIONS: dict[str, Any] = {
    "pad_id": BLANK,
    "unk_id": UNK,
    "bos_id": SOS,
    "eos_id": EOS,
    "pad_piece": SPECIAL_PIECES[BLANK],
    "unk_piece": SPECIAL_PIECES[UNK],
    "bos_piece": SPECIAL_PIECES[SOS],
    "eos_piece": SPECIAL_PIECES[EOS],
    "normalization_rule_name": "identity",
    "character_coverage": 1.0,
    "hard_vocab_limit": False,  # too large a size then makes as many pieces as there are instead of failing
    "max_sentence_length": 1 << 30,  # bytes; longer texts would be left out silently
    "num_threads": 1,
    "minloglevel": 3,
}


class SubwordConfig(NamedConfig):
    """A tokenizer whose number of pieces is chosen."""

    vocab_size: int = Field(default=500, gt=len(SPECIAL_PIECES))  # the four special pieces included


class SentencePieceTokenizer(StoredTokenizer):
    """A tokenizer whose registered name is sentencepiece's `model_type`."""

    trainer_options: ClassVar[dict[str, Any]] = {}

    def __init__(self, model: bytes) -> None:
        """RuntimeError if the bytes are no sentencepiece model, TextError if it is not one of ours."""
        self._model = model
        self._processor = SentencePieceProcessor(model_proto=model)
        sp = self._processor
        if (sp.pad_id(), sp.unk_id(), sp.bos_id(), sp.eos_id()) != (BLANK, UNK, SOS, EOS):
            raise TextError("a sentencepiece model with other special ids")
        size = sp.get_piece_size()
        pieces = tuple(sp.id_to_piece(token) for token in range(size))
        super().__init__(Vocabulary(pieces, blank=BLANK, unk=UNK, sos=SOS, eos=EOS))

    @classmethod
    def train(cls, config: NamedConfig, texts: Iterable[str]) -> Self:
        lines = sorted(filter(None, (" ".join(split_words(text)) for text in texts)))
        if not lines:
            raise TextError(f"{config.name} tokenizer: there is no text to train on; all texts are empty")
        options = {**TRAINER_OPTIONS, **cls.trainer_options, "model_type": config.name}
        if isinstance(config, SubwordConfig):
            smallest = len(SPECIAL_PIECES) + len({" "}.union(*lines))
            if config.vocab_size < smallest:
                raise TextError(
                    f"{config.name} tokenizer: vocab_size {config.vocab_size} is too small for the characters of these "
                    f"texts; the smallest possible is {smallest}"
                )
            options["vocab_size"] = config.vocab_size
        model = io.BytesIO()
        try:
            SentencePieceTrainer.train(sentence_iterator=iter(lines), model_writer=model, **options)
        except RuntimeError as error:
            raise TextError(f"{config.name} tokenizer: sentencepiece cannot use these texts: {error}") from error
        tokenizer = cls(model.getvalue())
        if isinstance(config, SubwordConfig) and tokenizer.vocab_size < config.vocab_size:
            raise TextError(
                f"{config.name} tokenizer: vocab_size {config.vocab_size} is too large for these texts; "
                f"the largest possible is {tokenizer.vocab_size}"
            )
        return tokenizer

    @classmethod
    def deserialized(cls, content: bytes) -> Self:
        return cls(content)

    @classmethod
    def load(cls, folder: Path, config: NamedConfig) -> Self:
        tokenizer = super().load(folder, config)
        if isinstance(config, SubwordConfig) and tokenizer.vocab_size != config.vocab_size:
            path, size = folder / MODEL_FILE, tokenizer.vocab_size
            raise BundleError(f"{path}: holds {size} tokens, the config says {config.vocab_size}")
        return tokenizer

    def serialized(self) -> bytes:
        return self._model

    def encode(self, text: str) -> list[int]:
        tokens: list[int] = self._processor.encode(" ".join(split_words(text)))
        return tokens
