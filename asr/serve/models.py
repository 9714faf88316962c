"""The models of a server: those of its command line, loaded when they are asked for and let go when nobody does."""

from __future__ import annotations

import asyncio
import gc
import logging
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from asr.errors import AsrError, ConfigError
from asr.serve.errors import ApiError
from asr.transcribe.recognizer import Recognizer

ALIASES = (
    "whisper-1",
    "gpt-transcribe",
    "gpt-4o-transcribe",
    "gpt-4o-mini-transcribe",
    "gpt-4o-mini-transcribe-2025-12-15",
    "gpt-4o-transcribe-diarize",
    "gpt-live-transcribe",
    "gpt-realtime-whisper",
)  # names of OpenAI's models, which stand for the first one here
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
LOG = logging.getLogger("asr.serve")


def name_models(given: Sequence[str]) -> dict[str, str]:
    """Ids and models, a folder or a name each, of `MODEL` or `ID=MODEL`; the id is else the last part of a path.

    ConfigError for two of one id, and for an id that is no plain word.
    """
    models: dict[str, str] = {}
    for one in given:
        name, separator, place = one.partition("=")
        if not separator or not ID.fullmatch(name):
            name, place = Path(one).name or one, one
            if name == "model" and Path(one).parent.name:  # as in recipes/an4/model
                name = Path(one).parent.name
        if not ID.fullmatch(name):
            raise ConfigError(f"--model {one}: '{name}' is no good name for requests; write ID={one}")
        if name in models:
            raise ConfigError(f"--model {one}: there is another model '{name}'; give this one an ID of its own")
        models[name] = place
    return models


class Model:
    """One model, loaded or not."""

    def __init__(
        self, name: str, load: Callable[[], Recognizer], on_batch: Callable[[int], None] = lambda _: None
    ) -> None:
        self.name = name
        self.recognizer: Recognizer | None = None
        self.num_users = 0
        self.created = int(time.time())
        self._load = load
        self._on_batch = on_batch
        self._lock = asyncio.Lock()
        self.unloading: asyncio.TimerHandle | None = None

    async def get(self) -> Recognizer:
        """The recognizer, loaded by whoever comes first; ApiError 503 if it cannot be."""
        async with self._lock:
            if self.recognizer is None:
                began = time.monotonic()
                try:
                    recognizer = await asyncio.to_thread(self._load)
                except AsrError as error:
                    LOG.error("model cannot be loaded", extra={"model": self.name, "reason": str(error)})
                    message = f"the model '{self.name}' cannot be loaded; the server's log says why"
                    raise ApiError(503, message, kind="server_error", code="model_unavailable") from error
                LOG.info("model loaded", extra={"model": self.name, "seconds": round(time.monotonic() - began, 3)})
                recognizer.engine.on_batch(self._on_batch)
                self.recognizer = recognizer
            return self.recognizer

    async def unload(self) -> None:
        """Let go of it, unless somebody uses it."""
        async with self._lock:
            recognizer, self.recognizer = (None, self.recognizer) if self.num_users else (self.recognizer, None)
        if recognizer is not None:
            await asyncio.to_thread(recognizer.close)
            del recognizer
            gc.collect()
            LOG.info("model unloaded", extra={"model": self.name})


class ModelPool:
    """Models by their ids; the first one is the default, which stays loaded. All of it belongs to the event loop."""

    def __init__(
        self,
        loaders: Mapping[str, Callable[[], Recognizer]],
        unload_after: float,
        on_batch: Callable[[str, int], None] = lambda *_: None,
    ) -> None:
        """`on_batch` is called with the model and the size of every batch, by threads of the engines."""
        self.models = {name: Model(name, load, partial(on_batch, name)) for name, load in loaders.items()}
        self.default = next(iter(self.models))
        self._unload_after = unload_after
        self._tasks: set[asyncio.Task[None]] = set()

    def find(self, name: str | None) -> Model:
        """The model of an id, of an alias or the default one; ApiError 404 for any other name."""
        if not name or (name in ALIASES and name not in self.models):
            name = self.default
        if name not in self.models:
            message = f"there is no model '{name[:100]}' here; use one of: {', '.join(self.models)}"
            raise ApiError(404, message, param="model", code="model_not_found")
        return self.models[name]

    @asynccontextmanager
    async def use(self, name: str | None) -> AsyncIterator[Recognizer]:
        """The recognizer of a model, which stays as long as it is used; ApiError as of `find` and `Model.get`."""
        model = self.find(name)
        model.num_users += 1
        if model.unloading is not None:
            model.unloading.cancel()
            model.unloading = None
        try:
            yield await model.get()
        finally:
            model.num_users -= 1
            if not model.num_users and model.name != self.default and self._unload_after:
                loop = asyncio.get_running_loop()
                model.unloading = loop.call_later(self._unload_after, self._unload, model)

    def _unload(self, model: Model) -> None:
        task = asyncio.get_running_loop().create_task(model.unload())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Let go of all models."""
        for model in self.models.values():
            if model.unloading is not None:
                model.unloading.cancel()
            if model.recognizer is not None:
                await asyncio.to_thread(model.recognizer.close)
                model.recognizer = None
