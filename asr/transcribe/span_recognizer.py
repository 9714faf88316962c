"""From spans of speech to segments: what an engine calls for a batch, in its own thread or in another process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from asr.alignment.confidence import confidence_measure, text_confidence
from asr.bundle.bundle import Bundle
from asr.bundle.decode import Searchers
from asr.bundle.prompting import AUTO, Wish, reading
from asr.bundle.recognition import NOTHING as NO_TEXT
from asr.bundle.recognition import Decoded, DecodeOptions, is_long
from asr.errors import ConfigError
from asr.text.tokenizer.word_breaks import joined
from asr.transcribe.coverage import MARGIN, cut_out, is_noise, uncovered_speech
from asr.transcribe.recognized import NOTHING, Recognized
from asr.transcribe.requests import RequestOptions
from asr.transcribe.segmentation import Span
from asr.types import Segment, Word


@dataclass
class _Heard:
    """The segments of a span: speech that was left out for its confidence was not passed over."""

    told: list[Segment] = field(default_factory=list)
    covering: list[Segment] = field(default_factory=list)  # those left out, too

    def add(self, segments: Sequence[Segment], is_sure: bool) -> None:
        self.covering += segments
        self.told += segments if is_sure else ()

    def recognized(self, span: Span) -> Recognized:
        """In time order; what no segment covers is told where the detector tells speech from other sounds."""
        in_order = tuple(sorted(self.told, key=lambda segment: segment.start))
        is_told = span.activity is not None and span.activity.tells_speech
        return Recognized(in_order, tuple(uncovered_speech(span, self.covering)) if is_told else ())


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
        if options.each_language and options.language not in (None, AUTO):
            raise ConfigError(
                f"--each-language finds languages, but '{options.language}' is given; leave one of them out"
            )
        searcher = self._searchers.get(options.search)
        found = reading(self._bundle, searcher, Wish(options.language, options.task, options.prompt))
        return DecodeOptions(searcher, found.prompt, measure, drop_loops=True, prompt_of=found.of_language)

    def finds_language(self, options: RequestOptions) -> bool:
        """Whether the language of a recording is to be found on its first speech; raises as `decode_options` does."""
        return self.decode_options(options).prompt_of is not None and not options.each_language

    def recognize(self, spans: Sequence[Span], options: Sequence[RequestOptions]) -> list[Recognized]:
        """What spans say, in one batch, each by options of its own.

        A model that hears windows can pass speech over in silence: what the detector takes for speech and no segment
        covers is decoded again, in whole windows.
        """
        by_request = {request: self.decode_options(request) for request in set(options)}
        chosen = [
            replace(by_request[request], place=str(span.first), speech_end=_speech_end(span))
            for span, request in zip(spans, options, strict=True)
        ]
        decoded = self._bundle.decode([span.waveform for span in spans], chosen)
        heard = {row: _Heard() for row, one in enumerate(decoded) if not is_noise(spans[row].activity, one)}
        for row, own in heard.items():
            own.add(self._said(spans[row], decoded[row]), self._is_sure(decoded[row], options[row]))
        gaps = [
            (row, cut_out(spans[row], (start - MARGIN, end) if is_long(spans[row].duration) else (start, end)))
            for row, own in heard.items()
            for start, end in uncovered_speech(spans[row], own.covering)
        ]
        if gaps and self._bundle.frontend.window_seconds is not None:
            told = [_in_language(chosen[row], decoded[row], part) for row, part in gaps]
            for (row, part), one in zip(gaps, self._decoded_again(spans, gaps, told), strict=True):
                if not is_noise(part.activity, one):
                    heard[row].add(self._said(part, one), self._is_sure(one, options[row]))
        return [heard[row].recognized(span) if row in heard else NOTHING for row, span in enumerate(spans)]

    def _decoded_again(
        self, spans: Sequence[Span], gaps: Sequence[tuple[int, Span]], options: Sequence[DecodeOptions]
    ) -> list[Decoded]:
        """Parts of spans, each with its span's place: those of long ones by themselves, others in whole windows."""
        decoded = [NO_TEXT] * len(gaps)
        for bundle, are_long in ((self._bundle, True), (self._exact, False)):
            places = [place for place, (row, _) in enumerate(gaps) if is_long(spans[row].duration) == are_long]
            if not places:
                continue
            parts = [gaps[place][1].waveform for place in places]
            for place, one in zip(places, bundle.decode(parts, [options[place] for place in places]), strict=True):
                decoded[place] = one
        return decoded

    def _is_sure(self, decoded: Decoded, options: RequestOptions) -> bool:
        """Whether the least confidence that is asked for is reached, or unknown."""
        confidence = decoded.placed.confidence
        least = self._min_confidence if options.min_confidence is None else options.min_confidence
        return confidence is None or confidence >= least

    @cached_property
    def _exact(self) -> Bundle:
        return self._bundle.exact()

    def segments(self, span: Span, decoded: Decoded, options: RequestOptions) -> tuple[Segment, ...]:
        """What was said in a span, in seconds of the recording; none for nothing and for noise."""
        return self._said(span, decoded) if self._is_sure(decoded, options) else ()

    def _said(self, span: Span, decoded: Decoded) -> tuple[Segment, ...]:
        if not decoded.text:
            return ()
        if decoded.placed.is_timed and not decoded.words:
            return ()
        words = [
            replace(word, start=span.start + word.start, end=min(span.start + word.end, span.end))
            for word in decoded.words
        ]
        best = decoded.n_best[0]
        if not best.segments:
            return (_segment(span, decoded, decoded.text, words, None),)
        tokenizer = self._bundle.tokenizer
        spelt = decoded.placed.words
        found = []
        for one in best.segments:
            places = [place for place, word in enumerate(spelt) if one.first <= word.start < one.stop]
            text = tokenizer.decode(best.tokens[one.first : one.stop])
            if decoded.placed.is_shortened:
                text = joined([spelt[place] for place in places], decoded.placed.between)
            if text:
                start, end = (span.start + frame * self._bundle.frame_seconds for frame in (one.start, one.end))
                own = [words[place] for place in places] if words else []
                found.append(_segment(span, decoded, text, own, (start, min(end, span.end))))
        return tuple(found)


def _in_language(options: DecodeOptions, decoded: Decoded, part: Span) -> DecodeOptions:
    """How a part of a span is decoded: in the language of the span."""
    language = decoded.n_best[0].language
    prompt = options.prompt
    if prompt is None and options.prompt_of is not None and language is not None:
        prompt = options.prompt_of(language)
    return replace(options, prompt=prompt, place=str(part.first), speech_end=None)


def _speech_end(span: Span) -> float | None:
    """Seconds into a span where its speech ends; None without a detector."""
    return None if span.activity is None else span.speech[1] / span.sample_rate - span.start


def _segment(
    span: Span, decoded: Decoded, text: str, words: Sequence[Word], times: tuple[float, float] | None
) -> Segment:
    """One segment of a span: where its words are, else where the model says, inside what the detector finds."""
    best = decoded.n_best[0]
    first, last = (sample / span.sample_rate for sample in span.speech)
    start, end = times or (first, last)
    if words:
        start, end = words[0].start, words[-1].end
    elif min(end, last) > max(start, first):
        start, end = max(start, first), min(end, last)
    confidences = [word.confidence for word in words if word.confidence is not None]
    confidence = text_confidence(confidences) if times else decoded.placed.confidence
    return Segment(start, end, text, tuple(words), confidence, language=best.language, measures=best.measures)
