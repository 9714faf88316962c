"""How speech is recognised while it is spoken: chunks, ends of utterances, what is shown. Times are seconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from asr.config_errors import validate
from asr.config_overrides import with_overrides
from asr.registry import Config
from asr.transcribe.segmentation import SegmentationConfig


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
    right_context: float | None = Field(
        None, ge=0
    )  # behind a chunk that it waits for; None: as the model's encoder says
    pre_roll: float = Field(0.5, ge=0)  # before the first sound that a detector hears, of the utterance's own
    tail: float = Field(0.3, ge=0)  # silence that a model gets to hear behind speech, real or added: it writes late
    stable_after: int = Field(1, ge=1)  # looks in which a word has to be the same until it is shown
    window_step: float = Field(1.0, gt=0)  # audio between two looks of a model that takes whole utterances
    window_max: float = Field(15.0, ge=2.0)  # audio it looks at; beyond, what is certain is cut off
    endpoint: EndpointConfig = EndpointConfig()


DEFAULT_STREAMING = StreamingConfig()


class Turns(Config):
    """What one stream has otherwise than its engine, and SpeechStarted and SpeechStopped among its events."""

    silence_after_text: float | None = Field(None, gt=0)
    pre_roll: float | None = Field(None, ge=0, le=2.0)
    onset: float | None = Field(None, gt=0, le=1)  # probability with which a detector says that speech begins

    def streaming(self, config: StreamingConfig) -> StreamingConfig:
        """The settings of the stream."""
        silence = config.endpoint.silence_after_text if self.silence_after_text is None else self.silence_after_text
        endpoint = config.endpoint.model_copy(update={"silence_after_text": silence})
        pre_roll = config.pre_roll if self.pre_roll is None else self.pre_roll
        return config.model_copy(update={"endpoint": endpoint, "pre_roll": pre_roll})

    def segmentation(self, config: SegmentationConfig) -> SegmentationConfig:
        """The same; where speech ends moves with where it begins."""
        if self.onset is None:
            return config
        offset = config.offset * self.onset / config.onset
        return config.model_copy(update={"onset": self.onset, "offset": offset})


def streaming_config(chunk: float | None = None, overrides: Sequence[str] = ()) -> StreamingConfig:
    """The defaults with another chunk and `streaming.key=value` overrides; ConfigError for what does not fit."""
    settings = {} if chunk is None else {"chunk": chunk}
    data = with_overrides({"streaming": settings}, overrides)
    return validate(StreamingConfig, data["streaming"], "--set")
