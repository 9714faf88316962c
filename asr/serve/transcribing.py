"""One uploaded file through the engine: submitted, followed, cancelled when nobody waits for it any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TypeVar

from asr.bundle.prompting import known_languages
from asr.errors import ConfigError
from asr.serve.errors import ApiError, invalid
from asr.serve.formats import Answer
from asr.serve.forms import TranscriptionRequest
from asr.serve.uploads import Gone, Uploaded
from asr.serve.waiting import Waiter
from asr.transcribe.events import Done, Event
from asr.transcribe.recognizer import Recognizer
from asr.transcribe.requests import RequestOptions

Result = TypeVar("Result")


def fit_options(recognizer: Recognizer, options: RequestOptions) -> tuple[RequestOptions, tuple[str, ...]]:
    """What the model can follow, and the names of the fields it cannot.

    A model that takes no code of a language gets none, for many clients always send one; ApiError 400 for everything
    else that the model cannot follow.
    """
    ignored: tuple[str, ...] = ()
    if options.language is not None and not known_languages(recognizer.bundle):
        options, ignored = replace(options, language=None), ("language",)
    try:
        recognizer.finds_language(options)
    except ConfigError as error:
        raise invalid(str(error)) from error
    return options, ignored


@asynccontextmanager
async def submitted(
    recognizer: Recognizer, upload: Uploaded, options: RequestOptions
) -> AsyncIterator[AsyncIterator[Event]]:
    """The events of a file; the request is cancelled when the block is left before the last one."""
    handle = await asyncio.to_thread(recognizer.engine.submit, upload, options)
    try:
        yield Waiter(handle).events()
    finally:
        handle.cancel()


def make_answer(done: Done, recognizer: Recognizer, asked: TranscriptionRequest, model: str) -> Answer:
    """What the formats need."""
    return Answer(
        done.transcript,
        done.seconds,
        model,
        asked.options.language,
        asked.options.task or "transcribe",
        asked.temperature or 0.0,
        recognizer.bundle.tokenizer.encode,
    )


async def unless_gone(
    receive: Callable[[], Awaitable[object]], work: Callable[[], Awaitable[Result]], seconds: float
) -> Result:
    """The result of `work`, cancelled with Gone when the caller leaves and with ApiError 504 after `seconds`.

    `receive` must have nothing more to give but the news that the caller has left.
    """
    task = asyncio.ensure_future(work())
    leaving = asyncio.ensure_future(receive())
    try:
        await asyncio.wait({task, leaving}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        if leaving.done():
            raise Gone
        message = f"the transcription took longer than {seconds:g} s; send the recording in parts"
        raise ApiError(504, message, kind="server_error", code="timeout")
    finally:
        for one in (task, leaving):
            one.cancel()
        await asyncio.gather(task, leaving, return_exceptions=True)
