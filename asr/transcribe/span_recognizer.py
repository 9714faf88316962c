"""From spans of speech to segments: what an engine calls for a batch, in its own thread or in another process."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from asr.alignment.confidence import confidence_measure
from asr.bundle.bundle import Bundle
from asr.bundle.decode import Searchers
from asr.bundle.recognition import Decoded, DecodeOptions
from asr.decoding.base import decoder_of
from asr.errors import ConfigError
from asr.text.tokenizer import Tokenizer
from asr.text.vocabulary import Vocabulary
from asr.transcribe.requests import RequestOptions
from asr.transcribe.segmentation import Span
from asr.types import Segment

LANGUAGE = re.compile(r"<\|[a-z]{2,3}\|>")  # the piece of a language


def build_prompt(
    vocabulary: Vocabulary, tokenizer: Tokenizer, language: str | None, text: str | None
) -> tuple[int, ...] | None:
    """What a decoder reads before it writes: its start, the language and what was said before; None for no wish.

    ConfigError for a language without a piece `<|code|>` of its own, naming those there are.
    """
    if language is None and text is None:
        return None
    prompt = [vocabulary.start]
    if language is not None:
        known = {
            vocabulary.piece(token)[2:-2]: token
            for token in sorted(vocabulary.control)
            if LANGUAGE.fullmatch(vocabulary.piece(token))
        }
        if language not in known:
            advice = f"use one of {', '.join(known)}" if known else "leave the language out"
            raise ConfigError(f"the model does not know a language '{language}'; {advice}")
        prompt.append(known[language])
    return (*prompt, *tokenizer.encode(text or ""))


class SpanRecognizer:
    """Recognises batches with a bundle; `confidence` and `min_confidence` are for requests that name none."""

    def __init__(
        self,
        bundle: Bundle,
        searchers: Searchers,
        confidence: str = "posterior",
        min_confidence: float = 0.0,
    ) -> None:
        self._bundle = bundle
        self._searchers = searchers
        self._confidence = confidence
        self._min_confidence = min_confidence
        confidence_measure(confidence)

    def decode_options(self, options: RequestOptions) -> DecodeOptions:
        """How spans of a request are decoded; ConfigError for options that the model or its search cannot follow."""
        measure = confidence_measure(options.confidence or self._confidence)
        searcher = self._searchers.get(options.search)
        prompt = self._prompt(searcher.vocabulary, options)
        if prompt is not None:
            searcher.start(1, [prompt])  # refuses it where there is no decoder
        return DecodeOptions(searcher, prompt, measure, drop_loops=True)

    def _prompt(self, vocabulary: Vocabulary, options: RequestOptions) -> tuple[int, ...] | None:
        """What a request wants read first; a head that has prompts of its own kind makes them."""
        decoder: Any = decoder_of(self._bundle.backend.heads)
        if (options.language or options.prompt) and hasattr(decoder, "build_prompt"):
            before = self._bundle.tokenizer.encode(options.prompt or "")
            own: tuple[int, ...] = decoder.build_prompt(options.language, before)
            return own
        return build_prompt(vocabulary, self._bundle.tokenizer, options.language, options.prompt)

    def recognize(self, spans: Sequence[Span], options: Sequence[RequestOptions]) -> list[Segment | None]:
        """Segments of spans, in one batch, each by options of its own; None where nothing was said."""
        by_request = {request: self.decode_options(request) for request in set(options)}
        decoded = self._bundle.decode([span.waveform for span in spans], [by_request[request] for request in options])
        return [self._segment(*row) for row in zip(spans, decoded, options, strict=True)]

    def _segment(self, span: Span, decoded: Decoded, options: RequestOptions) -> Segment | None:
        """What was said in a span, in seconds of the recording; None for nothing and for noise."""
        if not decoded.placed.is_timed:
            first, last = (sample / span.sample_rate for sample in span.speech)
            return Segment(first, last, decoded.text) if decoded.text else None
        confidence = decoded.placed.confidence
        least = self._min_confidence if options.min_confidence is None else options.min_confidence
        if not decoded.words or (confidence is not None and confidence < least):
            return None
        words = tuple(
            replace(word, start=span.start + word.start, end=min(span.start + word.end, span.end))
            for word in decoded.words
        )
        return Segment(words[0].start, words[-1].end, decoded.text, words, confidence)
