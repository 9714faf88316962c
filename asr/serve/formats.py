"""Answers in OpenAI's formats; keys beyond its own are `confidence`, `model`, `version` and `uncovered`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from asr import __version__
from asr.bundle.loops import compression_ratio
from asr.transcribe.timeline import milliseconds, recording_end
from asr.transcribe.writers import WRITERS, TranscriptSource
from asr.types import Segment, Transcript, Word

UNKNOWN_LANGUAGE = "und"  # the code of ISO 639 for a language that nobody determined
TEXT_TYPES = {
    "text": "text/plain; charset=utf-8",
    "srt": "application/x-subrip; charset=utf-8",
    "vtt": "text/vtt; charset=utf-8",
}


@dataclass(frozen=True)
class Answer:
    """A transcript, and what is known of its making."""

    transcript: Transcript
    duration: float  # seconds of the recording
    model: str
    language: str | None = None  # that was asked for
    task: str = "transcribe"
    temperature: float = 0.0
    tokens: Callable[[str], Sequence[int]] = lambda _: ()  # of a text, by the model's tokenizer

    @property
    def usage(self) -> dict[str, Any]:
        """What OpenAI would bill."""
        return {"type": "duration", "seconds": math.ceil(self.duration)}


def as_text(answer: Answer, response_format: str) -> str:
    """The body for text, srt and vtt."""
    if response_format == "text":
        return answer.transcript.text + "\n"
    source = TranscriptSource("", answer.duration, answer.model, __version__)
    return WRITERS[response_format](answer.transcript, source)


def as_json(answer: Answer, *, with_logprobs: bool = False) -> dict[str, Any]:
    """The body for json."""
    body: dict[str, Any] = {"text": answer.transcript.text, "usage": answer.usage}
    if with_logprobs:
        body["logprobs"] = [one for segment in answer.transcript.segments for one in logprobs(segment)]
    return body


def as_verbose_json(answer: Answer, *, with_words: bool, with_segments: bool) -> dict[str, Any]:
    """The body for verbose_json."""
    transcript = answer.transcript
    limit = recording_end(transcript, answer.duration)
    spoken = transcript.language or answer.language or UNKNOWN_LANGUAGE
    body: dict[str, Any] = {
        "task": answer.task,
        "language": spoken,
        "duration": round(answer.duration, 3),
        "text": transcript.text,
    }
    if with_segments:
        body["segments"] = [_segment(place, one, answer, limit) for place, one in enumerate(transcript.segments)]
    if with_words:
        body["words"] = [_word(word, limit) for segment in transcript.segments for word in segment.words]
    uncovered = [[milliseconds(moment, limit) / 1000 for moment in stretch] for stretch in transcript.uncovered]
    own = {"model": answer.model, "version": __version__, "uncovered": uncovered}
    return {**body, "usage": answer.usage, **own}


def logprobs(segment: Segment) -> list[dict[str, Any]]:
    """OpenAI's shape, a word at a time: the logarithm of the word's confidence."""
    return [
        {"token": text, "bytes": list(text.encode()), "logprob": round(math.log(max(word.confidence, 1e-9)), 4)}
        for word in segment.words
        if word.confidence is not None
        for text in (f" {word.text.strip()}",)
    ]


def _segment(place: int, segment: Segment, answer: Answer, limit: int) -> dict[str, Any]:
    start, end = milliseconds(segment.start, limit), milliseconds(segment.end, limit)
    return {
        "id": place,
        "seek": start // 10,  # hundredths of a second, as the frames that Whisper counts
        "start": start / 1000,
        "end": end / 1000,
        "text": segment.text,
        "tokens": list(answer.tokens(segment.text)),
        "temperature": answer.temperature,
        "avg_logprob": round(segment.measures.get("avg_logprob", _mean_logprob(segment)), 4),
        "compression_ratio": round(segment.measures.get("compression_ratio", compression_ratio(segment.text)), 4),
        "no_speech_prob": round(segment.measures.get("no_speech", 0.0), 4),
        "confidence": _rounded(segment.confidence),
    }


def _word(word: Word, limit: int) -> dict[str, Any]:
    start, end = milliseconds(word.start, limit) / 1000, milliseconds(word.end, limit) / 1000
    return {"word": word.text, "start": start, "end": end, "confidence": _rounded(word.confidence)}


def _rounded(confidence: float | None) -> float | None:
    return None if confidence is None else round(confidence, 4)


def _mean_logprob(segment: Segment) -> float:
    """Of words, from their confidences, for a model that does not say."""
    known = [word.confidence for word in segment.words if word.confidence is not None]
    return sum(math.log(max(one, 1e-9)) for one in known) / len(known) if known else 0.0
