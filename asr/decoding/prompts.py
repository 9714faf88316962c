"""What decoders are given to read before they write: one tuple of ids per utterance, of any lengths.

All rows of a batch step together. While a row is inside its prompt, its next token is forced to be the prompt's next
one. A decoder that can read whole prompts at once would be given them in place of `Prompts.first`, which is what rows
read in their first step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from asr.decoding.base import Prompt
from asr.errors import ConfigError
from asr.lengths import pad_stack
from asr.text.vocabulary import Vocabulary


def complete_prompts(
    rows: int, prompts: Sequence[Prompt | None] | None, vocabulary: Vocabulary, default: Prompt | None = None
) -> tuple[Prompt, ...]:
    """A prompt for each of B rows; where none is given `default`, which is (sos,) if it is None.

    ConfigError for an empty prompt, an id that the vocabulary lacks, or no prompt where the vocabulary has no sos.
    """
    given = [None] * rows if prompts is None else prompts
    if len(given) != rows:
        raise ConfigError(f"{len(given)} prompts for {rows} utterances; give one each, None for the usual one")
    if default is None and vocabulary.sos is not None:
        default = (vocabulary.sos,)
    completed = []
    for prompt in given:
        prompt = default if prompt is None else tuple(prompt)
        if prompt is None:
            raise ConfigError("the vocabulary has no start of sentence: this model has to be given a prompt")
        if wrong := [token for token in prompt if not 0 <= token < len(vocabulary)]:
            raise ConfigError(f"prompt: a vocabulary of {len(vocabulary)} pieces has no token {wrong[0]}")
        if not prompt:
            raise ConfigError("a prompt holds one token at least, the start of sentence")
        completed.append(prompt)
    return tuple(completed)


def refuse_prompts(search: str, prompts: Sequence[Prompt | None] | None) -> None:
    """ConfigError if there is any prompt: `search` has nothing that reads it."""
    if prompts is not None and any(prompt is not None for prompt in prompts):
        raise ConfigError(f"search '{search}' reads no prompt: only decoders do")


@dataclass(frozen=True)
class Prompts:
    """The prompts of B rows."""

    ids: Tensor  # (B, P)
    lens: Tensor  # (B,)

    @classmethod
    def of(cls, prompts: Sequence[Prompt], device: torch.device) -> Prompts:
        """From tuples of ids, none of them empty."""
        ids, lens = pad_stack([torch.tensor(prompt, dtype=torch.int64) for prompt in prompts])
        return cls(ids.to(device), lens.to(device))

    @property
    def first(self) -> Tensor:
        """The tokens (B, 1) that decoders are fed at first, one step each."""
        return self.ids[:, :1]

    def select(self, index: Tensor) -> Prompts:
        """The rows `index`."""
        return Prompts(self.ids[index], self.lens[index])

    def forced(self, position: int) -> tuple[Tensor, Tensor] | None:
        """The tokens (B,) at a position, counted from 0, and whether they are a row's prompt (B,); None beyond all."""
        if position >= self.ids.shape[1]:
            return None
        return self.ids[:, position], position < self.lens
