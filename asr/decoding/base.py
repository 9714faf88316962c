"""What a search is, what it needs of a model's heads, and how one is built.

B utterances (rows), S encoder frames, U tokens, N rows of a decoder, V vocabulary.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar, Generic, Protocol, Self, TypeVar

import torch
from pydantic import Field
from torch import Tensor

from asr.decoding.fusion import NO_FUSION, Fusion
from asr.errors import ConfigError
from asr.registry import NamedConfig, Registry
from asr.text.vocabulary import Vocabulary
from asr.types import EncoderOutput, Hypothesis

Prompt = tuple[int, ...]

Temperatures = tuple[Annotated[float, Field(gt=0.0, le=2.0)], ...] | None
"""Tried in order where a text cannot be trusted; None for those of the decoder's family, which for most are none."""


class CtcScorer(Protocol):
    """A head that gives every encoder frame a distribution over tokens and blank."""

    @property
    def vocabulary(self) -> Vocabulary: ...

    def log_probs(self, encoded: EncoderOutput) -> Tensor:
        """Log-probabilities (B, S, V); those of sos and eos, which are no labels of CTC, are -inf."""
        ...


class StepDecoder(Protocol):
    """A head that predicts one token at a time; the state is its own affair."""

    @property
    def vocabulary(self) -> Vocabulary: ...

    def __call__(self, encoded: EncoderOutput, tokens: Tensor, token_lens: Tensor) -> Tensor:
        """Teacher forcing: tokens (B, U) without sos -> log-probabilities (B, U + 1, V); row u predicts token u."""
        ...

    def init_state(self, encoded: EncoderOutput) -> Any:
        """State before the first token, one row per utterance."""
        ...

    def step(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Log-probabilities (N, V) of the token after the last ones (N,), and the next state."""
        ...

    def reorder(self, state: Any, index: Tensor) -> Any:
        """The state of the rows `index` (M,), which may repeat, drop or permute rows."""
        ...


class Heads(Protocol):
    """The heads of a model by id, as a `dict` or a `ModuleDict` has them."""

    def values(self) -> Iterable[Any]: ...


class TokenFilter(Protocol):
    """A rule about the next token of a decoder: of a family of models, of a language, of a grammar.

    Built for a request and handed to a search. Gets log-probabilities (N, V), all tokens so far (N, U), of which the
    first `prompt_lens` (N,) are the prompt, and which utterance (row of `Search.start`) each row is about (N,). Returns
    log-probabilities, -inf for tokens that must not come next; it does not change those it was given. The answer for
    a row that is still inside its prompt (U < prompt_lens) is not used. A row's answer must not depend on other rows.
    """

    def __call__(self, log_probs: Tensor, tokens: Tensor, prompt_lens: Tensor, rows: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Fallback:
    """How to search again for utterances whose text cannot be trusted: greedily, among draws of rising temperature."""

    temperatures: tuple[float, ...]
    seed: int
    build: Callable[[Sequence[TokenFilter]], AnySearch]  # a greedy search with further filters after the decoder's own


class SearchState(ABC):
    """What a search remembers of some utterances between two chunks; never changed in place."""

    @abstractmethod
    def select(self, index: Tensor) -> Self:
        """The state of the rows `index` (M,) int64, which may repeat, drop or permute rows."""

    @staticmethod
    @abstractmethod
    def join(states: Sequence[Any]) -> Any:
        """One state of all rows of several states of one search, which may be of different numbers of frames."""


State = TypeVar("State", bound=SearchState)


class Search(ABC, Generic[State]):
    """Turns encoder output into hypotheses. Constructor: (config, heads, fusion=NO_FUSION, filters=()).

    An utterance's answer depends neither on the others in its batch nor on how its frames are cut into chunks. One with
    a frame that is no number, or where every token is impossible, gets the empty hypothesis.
    """

    needs: ClassVar[frozenset[str]] = frozenset()  # what heads must be able to do: "ctc", "decoder"
    vocabulary: Vocabulary  # of the tokens of its hypotheses
    default_prompt: Prompt | None = None  # of an utterance for which none is given; None for (vocabulary.sos,)
    before: Prompt = ()  # tokens of what was said before each utterance, for decoders that take a prompt
    fallback: Fallback | None = None  # of a decoder that has temperatures, unless the settings want none
    read: Callable[[Hypothesis, Prompt, int], Hypothesis] | None = None  # of a decoder whose tokens are not all text:
    # a hypothesis, its prompt and number of frames, to the one people want

    @abstractmethod
    def start(
        self, rows: int, prompts: Sequence[Prompt | None] | None = None, device: torch.device | str = "cpu"
    ) -> State:
        """The state of so many utterances before their first frame, on the device where the frames will be.

        `prompts` are what a decoder is given to read before it writes, of any lengths; None for `default_prompt`. The
        prompt is no part of a hypothesis and does not count in its score. ConfigError for a search without a decoder.
        """

    @abstractmethod
    def advance(self, state: State, encoded: EncoderOutput) -> State:
        """The state after the next frames of all utterances; an utterance may have none."""

    def partial(self, state: State) -> list[tuple[int, ...]]:
        """The best tokens of each utterance so far; () where the search cannot tell before the end."""
        raise NotImplementedError

    @abstractmethod
    def finish(self, state: State) -> list[list[Hypothesis]]:
        """N-best lists, best first, none empty, one per utterance; without frames that of the empty hypothesis."""

    def search(self, encoded: EncoderOutput, prompts: Sequence[Prompt | None] | None = None) -> list[list[Hypothesis]]:
        """N-best lists of whole utterances: start, one advance, finish."""
        state = self.start(len(encoded.lens), prompts, encoded.frames.device)
        return self.finish(self.advance(state, encoded))


class Searcher(Protocol):
    """What decodes whole utterances: every `Search`, and what wraps one."""

    def search(self, encoded: EncoderOutput) -> list[list[Hypothesis]]:
        """N-best lists, best first, none empty, one per utterance."""
        ...


AnySearch = Search[Any]
SEARCHES: Registry[type[AnySearch]] = Registry("search")


def build_search(
    config: NamedConfig, heads: Heads, fusion: Fusion = NO_FUSION, filters: Sequence[TokenFilter] = ()
) -> AnySearch:
    """The configured search over the heads of a model, helped by the scorers of `fusion` and bound by `filters`.

    A decoder may have `default_prompt`, `filters()`, which come first, `read` and `temperatures`, as Whisper.
    ConfigError if a head is missing that the search needs, or if the search has no use for the fusion.
    """
    build: Any = SEARCHES.part(config.name)
    decoder: Any = decoder_of(heads) if "decoder" in build.needs else None
    own = decoder.filters() if hasattr(decoder, "filters") else ()
    searcher: AnySearch = build(config, heads, fusion, (*own, *filters))
    searcher.default_prompt = getattr(decoder, "default_prompt", None)
    searcher.read = getattr(decoder, "read", None)
    temperatures = getattr(config, "temperatures", None)
    if temperatures is None:
        temperatures = getattr(decoder, "temperatures", ())
    if temperatures:
        searcher.fallback = Fallback(temperatures, getattr(config, "seed", 0), partial(_greedy, config, heads, filters))
    return searcher


def _greedy(
    config: NamedConfig, heads: Heads, filters: Sequence[TokenFilter], further: Sequence[TokenFilter]
) -> AnySearch:
    """A greedy search over the decoder, with the limit of another one's settings and no fallback of its own."""
    limit = {"max_tokens_per_frame": getattr(config, "max_tokens_per_frame", 1.0), "temperatures": ()}
    greedy = SEARCHES.config("attention_greedy").model_validate(limit)
    return build_search(greedy, heads, NO_FUSION, (*filters, *further))


def ctc_of(heads: Heads) -> CtcScorer | None:
    """The first head that gives every frame a distribution; None without any."""
    return next((head for head in heads.values() if hasattr(head, "log_probs")), None)


def decoder_of(heads: Heads) -> StepDecoder | None:
    """The first head that predicts token by token; None without any."""
    return next((head for head in heads.values() if hasattr(head, "step")), None)


def require_ctc(search: str, heads: Heads) -> CtcScorer:
    """The CTC head; ConfigError if there is none, naming searches that would do."""
    head = ctc_of(heads)
    if head is None:
        raise ConfigError(f"search '{search}' needs a CTC head, but the model has none; {_alternatives(heads)}")
    if head.vocabulary.blank is None:
        raise ConfigError(f"search '{search}' needs a blank, which the vocabulary of the CTC head lacks")
    return head


def require_decoder(search: str, heads: Heads) -> StepDecoder:
    """The decoder; ConfigError if there is none, naming searches that would do."""
    head = decoder_of(heads)
    if head is None:
        raise ConfigError(f"search '{search}' needs a decoder, but the model has none; {_alternatives(heads)}")
    if head.vocabulary.eos is None:
        raise ConfigError(f"search '{search}' needs an end of sentence, which the vocabulary of the decoder lacks")
    return head


def require_both(search: str, heads: Heads) -> tuple[CtcScorer, StepDecoder]:
    """The CTC head and the decoder, of the same tokens; ConfigError otherwise."""
    ctc, decoder = require_ctc(search, heads), require_decoder(search, heads)
    if ctc.vocabulary.pieces != decoder.vocabulary.pieces:
        raise ConfigError(f"search '{search}' needs a CTC head and a decoder with the same tokenizer")
    return ctc, decoder


def _alternatives(heads: Heads) -> str:
    """What to use instead of a search whose heads are missing."""
    found = {"ctc": ctc_of(heads), "decoder": decoder_of(heads)}
    able = {name for name, head in found.items() if head is not None}
    names = [name for name in SEARCHES.names() if SEARCHES.part(name).needs <= able]
    return f"use {', '.join(names[:-1])} or {names[-1]}" if len(names) > 1 else "no search fits it"
