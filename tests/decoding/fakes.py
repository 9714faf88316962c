"""Heads and scorers whose log-probability of a token is any function of the text before it, for tests of searches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from asr.system.runtime import derive_seed
from asr.text.vocabulary import Vocabulary
from asr.types import EncoderOutput

Text = tuple[int, ...]


def own_vocabulary(size: Vocabulary | int) -> Vocabulary:
    """So many pieces in the layout of our own tokenizers; a vocabulary is returned as it is."""
    if isinstance(size, Vocabulary):
        return size
    return Vocabulary(tuple(f"p{token}" for token in range(size)), blank=0, unk=1, sos=2, eos=3)


def random_prediction(vocabulary: Vocabulary, *context: object, sharpness: float = 1.0) -> Tensor:
    """Log-probabilities (V,) float64 of the next token, always the same in the same context."""
    generator = torch.Generator().manual_seed(derive_seed(*context))
    logits = sharpness * torch.randn(len(vocabulary), dtype=torch.float64, generator=generator)
    logits[list(vocabulary.never_predicted)] = -math.inf
    return logits.log_softmax(-1)


class FakeDecoder:
    """A decoder that predicts at random, always the same after the same text about the same frames."""

    def __init__(self, vocabulary: Vocabulary | int) -> None:
        self.vocabulary = own_vocabulary(vocabulary)
        self.num_steps = 0

    def predict(self, frames: Tensor, text: Text) -> Tensor:
        """Log-probabilities (V,) of the token after a text, for the valid frames (S, V) of its utterance."""
        rounded = frames.double().round(decimals=6).tolist()  # processors differ in the last bits
        return random_prediction(self.vocabulary, rounded, text)

    def score(self, frames: Tensor, text: Text) -> float:
        """Log-probability of a text and EOS."""
        return sum(self.predict(frames, text[:n])[token].item() for n, token in enumerate((*text, self.vocabulary.end)))

    def __call__(self, encoded: EncoderOutput, tokens: Tensor, token_lens: Tensor) -> Tensor:
        state, last, log_probs = self.init_state(encoded), torch.full_like(token_lens, self.vocabulary.start), []
        for column in (*tokens.unbind(1), last):
            step, state = self.step(last, state)
            log_probs.append(step)
            last = column
        return torch.stack(log_probs, dim=1)

    def init_state(self, encoded: EncoderOutput) -> Any:
        assert encoded.lens.all(), "an utterance without frames has nothing to attend to"
        pairs = zip(encoded.frames, encoded.lens.tolist(), strict=True)
        return [(frames[:length], None) for frames, length in pairs]

    def step(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        self.num_steps += 1
        after = [(frames, grown(text, token)) for (frames, text), token in zip(state, tokens.tolist(), strict=True)]
        return torch.stack([self.predict(frames, text) for frames, text in after]), after

    def reorder(self, state: Any, index: Tensor) -> Any:
        return [state[row] for row in index.tolist()]


class FakeLm:
    """A language model that predicts at random, the same after the same text; columns that mean nothing are high."""

    def __init__(self, vocabulary: Vocabulary | int) -> None:
        self.vocabulary = own_vocabulary(vocabulary)

    def score(self, text: Text) -> float:
        """Log-probability of a text and EOS."""
        predictions = (random_prediction(self.vocabulary, "lm", text[:n]) for n in range(len(text) + 1))
        return sum(
            prediction[token].item()
            for prediction, token in zip(predictions, (*text, self.vocabulary.end), strict=True)
        )

    def init_state(self, num_rows: int, device: torch.device) -> Any:
        return [None] * num_rows

    def step(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        after = [grown(text, token) for text, token in zip(state, tokens.tolist(), strict=True)]
        scores = torch.stack([random_prediction(self.vocabulary, "lm", text) for text in after])
        scores[:, list(self.vocabulary.never_predicted)] = 1e6
        return scores, after

    def reorder(self, state: Any, index: Tensor) -> Any:
        return [state[row] for row in index.tolist()]

    def concat(self, first: Any, second: Any) -> Any:
        return [*first, *second]


class FakeCtc:
    """A CTC head for which encoder frames are the log-probabilities already."""

    def __init__(self, vocabulary: Vocabulary | int) -> None:
        self.vocabulary = own_vocabulary(vocabulary)

    def log_probs(self, encoded: EncoderOutput) -> Tensor:
        return encoded.frames


def fake_heads(decoder: Any = None, *, ctc: Vocabulary | int | None = None) -> dict[str, Any]:
    """Heads of a model: a decoder, a CTC head, or both."""
    heads = {"ctc": FakeCtc(ctc) if ctc is not None else None, "decoder": decoder}
    return {name: head for name, head in heads.items() if head is not None}


def grown(text: Text | None, token: int) -> Text:
    """A text with one more token; None is before the start of sentence, whatever that is."""
    return () if text is None else (*text, token)


def all_texts(tokens: Sequence[int], max_tokens: int) -> list[Text]:
    """Every text of up to so many tokens."""
    texts: list[Text] = [()]
    for text in texts:
        if len(text) < max_tokens:
            texts.extend((*text, token) for token in tokens)
    return texts
