"""What recognises streams with a model: its states where it can stream, LocalAgreement where it cannot."""

from __future__ import annotations

from asr.bundle.bundle import Bundle
from asr.bundle.streaming import StreamingDecoder, can_stream
from asr.errors import ConfigError
from asr.text.tokenizer import Tokenizer
from asr.transcribe.segmentation import SegmentationConfig
from asr.transcribe.span_recognizer import SpanRecognizer
from asr.transcribe.streaming.agreement import AgreementDecoder
from asr.transcribe.streaming.decoder import ChunkedDecoder, LiveDecoder
from asr.transcribe.streaming.engine import LiveEngine
from asr.transcribe.streaming.settings import StreamingConfig


def build_decoder(bundle: Bundle, spans: SpanRecognizer, config: StreamingConfig) -> LiveDecoder:
    """The way of a model."""
    rate = bundle.frontend.sample_rate
    if not can_stream(bundle):
        window, rules = bundle.frontend.window_seconds, config.endpoint
        longest = 1.25 * rules.max_utterance + config.pre_roll
        if window is not None and longest > window:
            raise ConfigError(
                f"streaming.endpoint.max_utterance {rules.max_utterance:g}: with a quarter more and pre_roll that is "
                f"{longest:g} s, and the model takes {window:g} s; use {(window - config.pre_roll) / 1.25:g} or less"
            )
        return AgreementDecoder(
            spans.recognize,
            spans.decode_options,
            rate,
            step_seconds=config.window_step,
            max_seconds=config.window_max,
        )
    return ChunkedDecoder(
        StreamingDecoder(bundle, config.chunk, config.left_context, config.right_context),
        rate,
        spans.decode_options,
        spans.segments,
        tail=config.tail,
        stable_after=config.stable_after,
        words_grow=words_grow(bundle.tokenizer),
    )


def build_live_engine(
    bundle: Bundle, spans: SpanRecognizer, config: StreamingConfig, segmentation: SegmentationConfig
) -> LiveEngine:
    """An engine for streams; its thread starts with the first one."""
    decoder = build_decoder(bundle, spans, config)
    return LiveEngine(decoder, config, segmentation, bundle.frontend.sample_rate, spans.decode_options)


def words_grow(tokenizer: Tokenizer) -> bool:
    """Whether a word may have several pieces, so that the last one of a text may go on."""
    if tokenizer.word_boundary == "none":
        return False
    written = (token for token in range(tokenizer.vocab_size) if tokenizer.letters(token))
    return not all(tokenizer.starts_word(token) for token in written)
