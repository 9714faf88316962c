"""What the OpenAPI page says of requests whose forms are read by hand, with examples."""

from __future__ import annotations

from typing import Any

from asr.serve.forms import FORMATS, GRANULARITIES

EXAMPLE_JSON = {"text": "Printing, in the only sense.", "usage": {"type": "duration", "seconds": 3}}
EXAMPLE_VERBOSE = {
    "task": "transcribe",
    "language": "en",
    "duration": 2.31,
    "text": "Printing, in the only sense.",
    "segments": [
        {
            "id": 0,
            "seek": 12,
            "start": 0.12,
            "end": 2.1,
            "text": "Printing, in the only sense.",
            "tokens": [50364, 6747, 278],
            "temperature": 0.0,
            "avg_logprob": -0.21,
            "compression_ratio": 0.78,
            "no_speech_prob": 0.01,
            "confidence": 0.87,
        }
    ],
    "words": [{"word": "Printing,", "start": 0.12, "end": 0.58, "confidence": 0.91}],
    "usage": {"type": "duration", "seconds": 3},
    "model": "whisper-base",
    "version": "0.1.0",
    "uncovered": [],
}
EXAMPLE_SRT = "1\n00:00:00,120 --> 00:00:02,100\nPrinting, in the only sense.\n\n"
EXAMPLE_ERROR = {
    "error": {
        "message": "there is no model 'x' here; use one of: whisper-base",
        "type": "invalid_request_error",
        "param": "model",
        "code": "model_not_found",
    }
}
STATUSES = {
    400: "what was sent cannot be understood or followed",
    401: "an API key is needed",
    404: "there is no such model",
    408: "the request came too slowly",
    413: "the file is too large or too long",
    429: "too many requests at once; Retry-After says when to come again",
    503: "the model cannot be loaded, or the server shuts down",
    504: "the transcription took too long",
}


def _text(description: str, example: Any = None) -> dict[str, Any]:
    return {"type": "string", "description": description, **({} if example is None else {"example": example})}


FIELDS: dict[str, Any] = {
    "file": {"type": "string", "format": "binary", "description": "flac, mp3, mp4, mpeg, mpga, m4a, ogg, wav, webm"},
    "model": _text("an id of /v1/models, or a name of OpenAI's, which stands for the first of them", "whisper-1"),
    "language": _text("code of the spoken language; found by the model where it is left out", "en"),
    "prompt": _text("what was said before: names and spellings that the model goes on with"),
    "keywords[]": {"type": "array", "items": {"type": "string"}, "description": "words and phrases to expect"},
    "hotwords": _text("the same, a line or between commas each", "Kaldi:4.0, Vosk"),
    "response_format": {"type": "string", "enum": list(FORMATS), "default": "json"},
    "temperature": {
        "type": "number",
        "minimum": 0,
        "maximum": 1,
        "description": "above 0: the one that the model draws with where it doubts its text",
    },
    "timestamp_granularities[]": {
        "type": "array",
        "items": {"type": "string", "enum": list(GRANULARITIES)},
        "description": "needs verbose_json",
    },
    "include[]": {"type": "array", "items": {"type": "string", "enum": ["logprobs"]}, "description": "needs json"},
    "stream": {"type": "boolean", "default": False, "description": "server-sent events"},
}


def form_body(*, translates: bool) -> dict[str, Any]:
    """The description of a request's form."""
    fields = {name: value for name, value in FIELDS.items() if not (translates and name == "language")}
    schema = {"type": "object", "required": ["file"], "properties": fields}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


def answers() -> dict[int | str, dict[str, Any]]:
    """The descriptions of all answers, with examples."""
    fine = {
        "description": "the transcript, in the format that was asked for",
        "content": {
            "application/json": {
                "examples": {"json": {"value": EXAMPLE_JSON}, "verbose_json": {"value": EXAMPLE_VERBOSE}}
            },
            "text/plain": {"example": f"{EXAMPLE_JSON['text']}\n"},
            "application/x-subrip": {"example": EXAMPLE_SRT},
            "text/event-stream": {
                "example": 'data: {"type": "transcript.text.delta", "delta": "Printing, in the only sense."}\n\n'
            },
        },
    }
    errors: dict[int | str, dict[str, Any]] = {
        status: {"description": text, "content": {"application/json": {"example": EXAMPLE_ERROR}}}
        for status, text in STATUSES.items()
    }
    return {200: fine, **errors}
