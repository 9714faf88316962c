"""The application: routes, errors in OpenAI's shape, the page."""

from __future__ import annotations

import asyncio
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

from asr import __version__
from asr.serve import realtime, routes, stream
from asr.serve.errors import INVALID, ApiError, as_api_error
from asr.serve.exchange import error_response
from asr.serve.metrics import Metrics
from asr.serve.metrics import router as metric_routes
from asr.serve.models import ModelPool
from asr.serve.security import Access, Guard
from asr.serve.settings import DEFAULT_SERVE, ServeConfig
from asr.serve.state import ServerState
from asr.serve.watch import Watch
from asr.serve.wyoming import start_wyoming
from asr.transcribe.recognizer import Recognizer
from asr.transcribe.streaming.settings import DEFAULT_STREAMING, StreamingConfig

PAGE = Path(__file__).parent / "page"


def create_app(
    loaders: Mapping[str, Callable[[], Recognizer]],
    config: ServeConfig = DEFAULT_SERVE,
    streaming: StreamingConfig = DEFAULT_STREAMING,
    access: Access | None = None,
    wyoming: socket.socket | None = None,
) -> FastAPI:
    """An ASGI application that serves models by their ids; each is loaded by its function when it is needed.

    The first model is loaded before the application is ready; what that raises ends it. `wyoming` is a socket that
    listens for clients of that protocol.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        folder = Path(tempfile.mkdtemp(prefix="asr-serve-"))  # readable by its owner alone
        pool = ModelPool(loaders, config.unload_after, metrics.took_batch)
        app.state.server = ServerState(pool, folder, config, streaming, metrics=metrics)
        try:
            async with pool.use(None):
                server = None if wyoming is None else await start_wyoming(app.state.server, wyoming)
                yield
                if server is not None:
                    server.close()
        finally:
            app.state.server.close_doors()
            await pool.close()
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    metrics = Metrics()
    access = access or Access()
    app = FastAPI(title="asr", version=__version__, lifespan=lifespan)
    app.include_router(routes.router)
    app.include_router(stream.router)
    app.include_router(realtime.router)
    app.include_router(metric_routes)
    _mount_page(app)
    app.add_middleware(Guard, access=access)
    if access.origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=access.origins, allow_methods=["GET", "POST"], allow_headers=["*"]
        )
    app.add_middleware(Watch, metrics=metrics)  # the last one is the first to see a request
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(Exception, _internal_error)
    return app


def _mount_page(app: FastAPI) -> None:
    """The page at `/`, and what it consists of below `/page`."""
    if not PAGE.is_dir():
        return
    app.mount("/page", StaticFiles(directory=PAGE), name="page")

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return FileResponse(PAGE / "index.html", headers={"Cache-Control": "no-cache"})


def _api_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return error_response(error)


def _http_error(request: Request, error: Exception) -> Response:
    """What the framework refuses: an unknown address, another method."""
    assert isinstance(error, HTTPException)
    message = f"there is nothing at {request.url.path[:200]}" if error.status_code == 404 else str(error.detail)
    headers = dict(error.headers or {})
    return error_response(ApiError(error.status_code, message, kind=INVALID, headers=headers))


def _validation_error(_request: Request, error: Exception) -> Response:
    return error_response(ApiError(400, f"the request cannot be understood: {error}"[:500]))


def _internal_error(request: Request, error: Exception) -> Response:
    told = as_api_error(error) or request.app.state.server.report(error)
    return error_response(told)
