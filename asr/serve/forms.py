"""What a request for a transcription asks for, from the fields of OpenAI's forms."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from asr.bundle.decode import SearchRequest
from asr.decoding.hotwords import Hotword, parse_hotword
from asr.registry import did_you_mean
from asr.serve.errors import invalid
from asr.transcribe.engine import DEFAULT_OPTIONS
from asr.transcribe.requests import RequestOptions

FORMATS = ("json", "text", "srt", "verbose_json", "vtt")
DIARIZED = "diarized_json"
GRANULARITIES = ("word", "segment")
MAX_HOTWORDS, MAX_LETTERS = 100, 2000  # of a request: some searches keep tables as large as all letters times tokens
MAX_IGNORED = 20  # fields that are named in an answer
NAME = re.compile(r"[A-Za-z0-9_.\[\]-]{1,50}")  # a field that may be named in a header
SPEAKERS = ("known_speaker_names", "known_speaker_references")
KNOWN = frozenset(
    {"model", "language", "languages", "prompt", "keywords", "hotwords", "temperature", "response_format", "stream"}
    | {"timestamp_granularities", "include"}
)
NO_SPEAKERS = "no model here tells speakers apart, which 'diarized_json' needs; ask for json or verbose_json"


@dataclass(frozen=True)
class TranscriptionRequest:
    """A request, checked as far as that can be done without its model."""

    model: str | None = None
    response_format: str = "json"
    options: RequestOptions = DEFAULT_OPTIONS
    temperature: float | None = None
    streams: bool = False
    with_words: bool = False
    with_segments: bool = True
    with_logprobs: bool = False
    ignored: tuple[str, ...] = ()  # fields that have no effect here


def parse_form(fields: Mapping[str, Sequence[str]], *, translates: bool = False) -> TranscriptionRequest:
    """ApiError 400, with the field, for a value that cannot be followed; fields nobody knows are remembered."""
    response_format = _one(fields, "response_format") or "json"
    if response_format == DIARIZED or any(fields.get(name) for name in SPEAKERS):
        raise invalid(NO_SPEAKERS, "response_format", "diarization_unavailable")
    if response_format not in FORMATS:
        hint = did_you_mean(response_format[:50], FORMATS)
        raise invalid(f"unknown response_format '{response_format[:50]}'{hint}", "response_format")
    granularities = _several(fields, "timestamp_granularities", GRANULARITIES)
    if granularities and response_format != "verbose_json":
        raise invalid(
            "timestamp_granularities need response_format verbose_json", "timestamp_granularities", "unsupported_format"
        )
    with_logprobs = "logprobs" in _several(fields, "include", ("logprobs",))
    if with_logprobs and response_format != "json":
        raise invalid("logprobs need response_format json", "include", "unsupported_format")
    streams = _flag(fields, "stream")
    if streams and response_format not in ("json", "text"):
        raise invalid("a stream has no other response_format than json or text", "stream", "unsupported_format")
    temperature = _temperature(fields)
    languages = [code.strip() for code in fields.get("languages", ()) if code.strip()]
    language = _one(fields, "language") or (languages[0] if len(languages) == 1 else None)
    ignored = [name for name in fields if name not in KNOWN] + ["languages"] * (len(languages) > 1)
    if _one(fields, "chunking_strategy") == "auto":  # as it is always done
        ignored.remove("chunking_strategy")
    hotwords = parse_hotwords([*fields.get("keywords", ()), *fields.get("hotwords", ())])
    return TranscriptionRequest(
        model=_one(fields, "model"),
        response_format=response_format,
        options=RequestOptions(
            search_for(hotwords, temperature),
            language,
            task="translate" if translates else None,
            prompt=_one(fields, "prompt"),
        ),
        temperature=temperature,
        streams=streams,
        with_words="word" in granularities,
        with_segments=not granularities or "segment" in granularities,
        with_logprobs=with_logprobs,
        ignored=tuple(dict.fromkeys(name for name in ignored if NAME.fullmatch(name)))[:MAX_IGNORED],
    )


def parse_hotwords(texts: Sequence[str]) -> tuple[Hotword, ...]:
    """Words and phrases, a line or between commas, with boosts as `WORD:4.0`; ApiError 400 for what is none."""
    words = [word.strip() for text in texts for line in text.splitlines() for word in line.split(",")]
    words = [word for word in words if word]
    if len(words) > MAX_HOTWORDS:
        raise invalid(f"there are {len(words)} hotwords; {MAX_HOTWORDS} are the most", "keywords")
    if sum(map(len, words)) > MAX_LETTERS:
        raise invalid(f"the hotwords have more than {MAX_LETTERS} letters together", "keywords")
    try:
        return tuple(parse_hotword(word) for word in words)
    except ValueError as error:
        raise invalid(str(error), "keywords") from error


def search_for(hotwords: Sequence[Hotword], temperature: float | None = None) -> SearchRequest | None:
    """The search that a request needs, None for the model's own.

    A temperature above 0 is the one that the model draws with where it doubts its text.
    """
    if not hotwords and not temperature:
        return None
    overrides = (f"search.temperatures=[{temperature:g}]",) if temperature else ()
    return SearchRequest(overrides=overrides, hotwords=tuple(hotwords))


def _one(fields: Mapping[str, Sequence[str]], name: str) -> str | None:
    values = fields.get(name, ())
    if len(values) > 1:
        raise invalid(f"'{name}' stands there {len(values)} times", name)
    return values[0].strip() or None if values else None


def _several(fields: Mapping[str, Sequence[str]], name: str, known: Sequence[str]) -> set[str]:
    values = {value.strip() for value in fields.get(name, ())} - {""}
    for value in values:
        if value not in known:
            raise invalid(f"unknown value '{value[:50]}' of {name}; use {' or '.join(known)}", name)
    return values


def _flag(fields: Mapping[str, Sequence[str]], name: str) -> bool:
    value = (_one(fields, name) or "false").lower()
    if value not in ("true", "false", "1", "0"):
        raise invalid(f"'{name}' must be true or false", name)
    return value in ("true", "1")


def _temperature(fields: Mapping[str, Sequence[str]]) -> float | None:
    text = _one(fields, "temperature")
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise invalid("'temperature' must be a number from 0 to 1", "temperature")
    return value
