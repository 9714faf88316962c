"""From spans of speech to segments: what an engine calls for a batch, in its own thread or in another process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from asr.alignment.confidence import confidence_measure
from asr.bundle.bundle import Bundle
from asr.bundle.decode import Searchers
from asr.bundle.recognition import Decoded, DecodeOptions
from asr.transcribe.requests import RequestOptions
from asr.transcribe.segmentation import Span
from asr.types import Segment


class SpanRecognizer:
    """Recognises batches with a bundle; `confidence` and `min_confidence` are for requests that name none."""

    def __init__(
        self,
        bundle: Bundle,
        searchers: Searchers,
        dtype: torch.dtype = torch.float32,
        confidence: str = "posterior",
        min_confidence: float = 0.0,
    ) -> None:
        self._bundle = bundle
        self._searchers = searchers
        self._dtype = dtype
        self._confidence = confidence
        self._min_confidence = min_confidence
        confidence_measure(confidence)

    def decode_options(self, options: RequestOptions) -> DecodeOptions:
        """How spans of a request are decoded; ConfigError for options that the model or its search cannot follow."""
        measure = confidence_measure(options.confidence or self._confidence)
        return DecodeOptions(self._searchers.get(options.search), measure, drop_loops=True)

    def recognize(self, spans: Sequence[Span], options: Sequence[RequestOptions]) -> list[Segment | None]:
        """Segments of spans, in one batch, each by options of its own; None where nothing was said."""
        by_request = {request: self.decode_options(request) for request in set(options)}
        decoded = self._bundle.decode(
            [span.waveform for span in spans], [by_request[request] for request in options], self._dtype
        )
        return [self._segment(*row) for row in zip(spans, decoded, options, strict=True)]

    def _segment(self, span: Span, decoded: Decoded, options: RequestOptions) -> Segment | None:
        """What was said in a span, in seconds of the recording; None for nothing and for noise."""
        if decoded.placed.confidences is None:
            first, last = (sample / span.sample_rate for sample in span.speech)
            return Segment(first, last, decoded.text) if decoded.text else None
        confidence = decoded.placed.confidence
        least = self._min_confidence if options.min_confidence is None else options.min_confidence
        if confidence is None or confidence < least:
            return None
        words = tuple(
            replace(word, start=span.start + word.start, end=min(span.start + word.end, span.end))
            for word in decoded.words
        )
        return Segment(words[0].start, words[-1].end, decoded.text, words, confidence)
