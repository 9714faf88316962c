"""How speech is recognised while it is spoken: chunks, ends of utterances, what is shown. Times are seconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from asr.config_errors import validate
from asr.config_overrides import with_overrides
from asr.registry import Config


class EndpointConfig(Config):
    """When an utterance ends: the three rules of Kaldi's online decoders.

    `by` says what silence is: what the detector of the segmentation takes for it, or frames in which the model finds
    nothing. Without a detector it is the model that says.
    """

    by: Literal["detector", "decoder"] = "detector"  # what says that nothing is said
    silence_before_text: float = Field(2.4, gt=0)  # nothing has been found, and nothing is to be heard
    silence_after_text: float = Field(0.5, gt=0)  # behind the last word
    max_utterance: float = Field(20.0, ge=1.0)  # one this long ends at its next pause, a quarter later without one


class StreamingConfig(Config):
    """Settings of models that stream, of `window_*` those of models that cannot."""

    chunk: float = Field(0.32, gt=0, le=10.0)  # audio between two looks of the encoder, in whole encoder frames
    left_context: float | None = Field(None, ge=0)  # before a chunk that it sees; None: as the model was trained
    pre_roll: float = Field(0.5, ge=0)  # before the first sound that a detector hears, of the utterance's own
    tail: float = Field(0.3, ge=0)  # silence that a model gets to hear behind speech, real or added: it writes late
    stable_after: int = Field(1, ge=1)  # looks in which a word has to be the same until it is shown
    window_step: float = Field(1.0, gt=0)  # audio between two looks of a model that takes whole utterances
    window_max: float = Field(15.0, ge=2.0)  # audio it looks at; beyond, what is certain is cut off
    endpoint: EndpointConfig = EndpointConfig()


DEFAULT_STREAMING = StreamingConfig()


def streaming_config(chunk: float | None = None, overrides: Sequence[str] = ()) -> StreamingConfig:
    """The defaults with another chunk and `streaming.key=value` overrides; ConfigError for what does not fit."""
    settings = {} if chunk is None else {"chunk": chunk}
    data = with_overrides({"streaming": settings}, overrides)
    return validate(StreamingConfig, data["streaming"], "--set")
