"""One request for a transcription, from its upload to its answer, whole or as server-sent events."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from asr.serve.errors import ApiError, as_api_error, invalid
from asr.serve.formats import TEXT_TYPES, Answer, as_json, as_text, as_verbose_json, logprobs
from asr.serve.forms import TranscriptionRequest, parse_form
from asr.serve.state import Record, ServerState
from asr.serve.transcribing import fit_options, make_answer, submitted, unless_gone
from asr.serve.uploads import FILE, Form, Gone, Uploaded, read_form
from asr.transcribe.events import Done, Event, Failed, SegmentReady
from asr.transcribe.recognizer import Recognizer

IGNORED = "X-Ignored-Fields"  # header with the names of fields that have no effect


class Exchange(Response):
    """Reads the form, has it transcribed and answers. All of it happens while it is sent."""

    def __init__(self, state: ServerState, *, translates: bool) -> None:
        super().__init__()
        self._state = state
        self._translates = translates

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI wants it; raises ApiError as long as nothing has been sent."""
        request = Request(scope, receive)
        state = self._state
        try:
            async with state.files.enter(), read_form(request, state.folder, state.config) as form:
                asked = parse_form(form.fields, translates=self._translates)
                model = state.pool.find(asked.model).name
                upload = _upload(form, state)
                async with state.pool.use(model) as recognizer:
                    options, ignored = fit_options(recognizer, asked.options)
                    record = Record.of(scope)
                    record.model = model
                    talk = _Talk(state, recognizer, asked, model, record, (*asked.ignored, *ignored))

                    async def work() -> None:
                        async with state.files.run(), submitted(recognizer, upload, options) as events:
                            answer = talk.stream if asked.streams else talk.answer
                            await answer(events, scope, receive, send)

                    await unless_gone(receive, work, state.config.request_time)
        except Gone:
            Record.of(scope).is_gone = True
        except Exception as error:
            told = as_api_error(error) or state.report(error)
            Record.of(scope).code = told.code
            raise told from error


def _upload(form: Form, state: ServerState) -> Uploaded:
    if form.file is None:
        raise invalid("there is no field 'file' with the audio", FILE, "missing_file")
    if not form.num_bytes:
        raise invalid("the file is empty (0 bytes); record or copy it again", FILE, "invalid_audio")
    return Uploaded(form.file, state.config.max_audio_seconds)


class _Talk:
    """Turns the events of a request into what is sent."""

    def __init__(
        self,
        state: ServerState,
        recognizer: Recognizer,
        asked: TranscriptionRequest,
        model: str,
        record: Record,
        ignored: tuple[str, ...],
    ) -> None:
        self._state = state
        self._recognizer = recognizer
        self._asked = asked
        self._model = model
        self._record = record
        self._headers = {IGNORED: ", ".join(ignored)} if ignored else {}

    async def answer(self, events: AsyncIterator[Event], scope: Scope, receive: Receive, send: Send) -> None:
        """Everything at the end."""
        async for event in events:
            if isinstance(event, Failed):
                raise event.error
            if isinstance(event, Done):
                await self._body(self._done(event))(scope, receive, send)

    async def stream(self, events: AsyncIterator[Event], scope: Scope, receive: Receive, send: Send) -> None:
        """A delta for each segment, and the whole text."""
        is_started = False
        num_texts = 0
        async for event in events:
            if isinstance(event, Failed) and not is_started:
                raise event.error
            for one in self._sent_of(event, num_texts):
                if not is_started:
                    await send(self._start())
                    is_started = True
                body = f"data: {json.dumps(one, ensure_ascii=False)}\n\n".encode("utf-8", "replace")
                await send({"type": "http.response.body", "body": body, "more_body": True})
            num_texts += isinstance(event, SegmentReady)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _start(self) -> dict[str, Any]:
        headers = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-store", **self._headers}
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        return {"type": "http.response.start", "status": 200, "headers": raw}

    def _sent_of(self, event: Event, num_texts: int) -> list[dict[str, Any]]:
        match event:
            case SegmentReady(segment):
                delta: dict[str, Any] = {
                    "type": "transcript.text.delta",
                    "delta": f" {segment.text}" if num_texts else segment.text,
                }
                if self._asked.with_logprobs:
                    delta["logprobs"] = logprobs(segment)
                return [delta]
            case Done():
                body = as_json(self._done(event), with_logprobs=self._asked.with_logprobs)
                return [{"type": "transcript.text.done", **body}]
            case Failed(error):
                return [(as_api_error(error) or self._state.report(error)).to_json()]
        return []

    def _done(self, done: Done) -> Answer:
        self._record.audio_seconds = done.seconds
        return make_answer(done, self._recognizer, self._asked, self._model)

    def _body(self, answer: Answer) -> Response:
        asked = self._asked
        if asked.response_format == "json":
            return JSONResponse(as_json(answer, with_logprobs=asked.with_logprobs), headers=self._headers)
        if asked.response_format == "verbose_json":
            body = as_verbose_json(answer, with_words=asked.with_words, with_segments=asked.with_segments)
            return JSONResponse(body, headers=self._headers)
        text = as_text(answer, asked.response_format)
        return Response(text, headers=self._headers, media_type=TEXT_TYPES[asked.response_format])


def error_response(error: ApiError) -> Response:
    """An error as an answer."""
    return JSONResponse(error.to_json(), error.status, headers=error.headers)
