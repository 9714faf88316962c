"""What a search is and what it needs of a model."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from asr.decoding.fusion import NO_FUSION, Fusion
from asr.errors import ConfigError
from asr.registry import NamedConfig, Registry
from asr.types import EncoderOutput, Hypothesis


class StepDecoder(Protocol):
    """A decoder that predicts one token at a time; the state is its own affair."""

    def __call__(self, encoded: EncoderOutput, tokens: Tensor, token_lens: Tensor) -> Tensor:
        """Teacher forcing: tokens (B, U) without SOS -> log-probabilities (B, U + 1, V); row u predicts token u."""
        ...

    def init_state(self, encoded: EncoderOutput) -> Any:
        """State before the first token, one row per utterance."""
        ...

    def step(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Log-probabilities (N, V) of the token after the last ones (N,), SOS at first, and the next state."""
        ...

    def reorder(self, state: Any, index: Tensor) -> Any:
        """The state of the rows `index` (M,), which may repeat, drop or permute rows."""
        ...


class SearchModel(Protocol):
    """What searches use of a model: an encoder and at least one of CTC head and decoder."""

    @property
    def ctc_head(self) -> object | None: ...

    @property
    def decoder(self) -> StepDecoder | None: ...

    @property
    def training(self) -> bool: ...

    def train(self, mode: bool = True) -> object: ...

    def encode(self, features: Tensor, feature_lens: Tensor) -> EncoderOutput: ...

    def ctc_log_probs(self, encoded: EncoderOutput) -> Tensor:
        """Log-probabilities (B, S, V) of the CTC head."""
        ...


class Searcher(Protocol):
    """Turns encoder output into hypotheses. An utterance's answer must not depend on the others in its batch."""

    def __init__(self, config: NamedConfig, model: SearchModel, fusion: Fusion = NO_FUSION) -> None:
        """ConfigError if the model lacks a part that the search needs, or the search has no use for the fusion."""
        ...

    def search(self, encoded: EncoderOutput) -> list[list[Hypothesis]]:
        """N-best lists, best first, one per utterance; an utterance without frames gets the empty hypothesis."""
        ...


SEARCHES: Registry[type[Searcher]] = Registry("search")


def build_search(config: NamedConfig, model: SearchModel, fusion: Fusion = NO_FUSION) -> Searcher:
    """The configured search over a model, helped by the scorers of `fusion`.

    ConfigError if the model lacks a part that the search needs, or if the search follows the model alone.
    """
    return SEARCHES.part(config.name)(config, model, fusion)


def default_search(model: SearchModel) -> str:
    """Name of the search to use when nobody chose one."""
    return "ctc_greedy" if model.ctc_head is not None else "attention_greedy"


def require_ctc(search: str, model: SearchModel) -> None:
    """ConfigError unless the model has a CTC head."""
    if model.ctc_head is None:
        raise ConfigError(
            f"search '{search}' needs a CTC head, but the model has none; use attention_greedy or attention_beam"
        )


def require_decoder(search: str, model: SearchModel) -> StepDecoder:
    """The model's decoder; ConfigError if it has none."""
    if model.decoder is None:
        raise ConfigError(
            f"search '{search}' needs a decoder, but the model has none; use ctc_greedy or ctc_prefix_beam"
        )
    return model.decoder
