"""The HTTP routes but for metrics: transcriptions, models, health."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from asr import __version__
from asr.bundle.prompting import known_languages
from asr.serve import openapi
from asr.serve.exchange import Exchange
from asr.serve.models import Model
from asr.serve.state import ServerState

router = APIRouter()


def state_of(request: Request) -> ServerState:
    """What the server shares."""
    state = request.app.state.server
    assert isinstance(state, ServerState)
    return state


@router.post(
    "/v1/audio/transcriptions",
    summary="Transcribe a file",
    response_class=Response,
    responses=openapi.answers(),
    openapi_extra=openapi.form_body(translates=False),
)
async def transcriptions(request: Request) -> Response:
    """What is said in an audio file, as text, JSON, subtitles or server-sent events."""
    return Exchange(state_of(request), translates=False)


@router.post(
    "/v1/audio/translations",
    summary="Transcribe a file into English",
    response_class=Response,
    responses=openapi.answers(),
    openapi_extra=openapi.form_body(translates=True),
)
async def translations(request: Request) -> Response:
    """What is said in an audio file, in English; needs a model that translates."""
    return Exchange(state_of(request), translates=True)


@router.get("/v1/models", summary="List the models")
async def models(request: Request) -> dict[str, Any]:
    """The models that requests may name."""
    return {"object": "list", "data": [_model(model) for model in state_of(request).pool.models.values()]}


@router.get("/v1/models/{name}", summary="One model", responses={404: {"description": "there is no such model"}})
async def model(request: Request, name: str) -> dict[str, Any]:
    """A model by its id, or by an alias."""
    return _model(state_of(request).pool.find(name))


@router.get("/health", summary="Whether the server works")
async def health(request: Request) -> dict[str, Any]:
    """Open to everybody, also where API keys are needed."""
    state = state_of(request)
    return {
        "status": "ok" if state.is_open else "stopping",
        "version": __version__,
        "running": state.files.num_running,
        "waiting": state.files.num_waiting,
        "streams": state.streams.num_all,
    }


def _model(model: Model) -> dict[str, Any]:
    """OpenAI's object, with whether it is loaded, and the languages it knows once it is."""
    loaded = model.recognizer
    known = {} if loaded is None else {"languages": list(known_languages(loaded.bundle))}
    return {
        "id": model.name,
        "object": "model",
        "created": model.created,
        "owned_by": "asr",
        "loaded": loaded is not None,
        **known,
    }
