"""Our side of the benchmark `whisper`: the recognizer of `asr transcribe`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from asr.system.libraries import settle_libraries
from tools.benchmarks.common import Stopwatch, peak_mb, serve, versions

settle_libraries()  # as the command line does, before torch loads

import torch  # noqa: E402

BASE = peak_mb()  # MB that hold nothing but torch
loaded: dict[str, Any] = {}


def load(model: str, dtype: str, threads: int, exact: bool = False) -> dict[str, str]:
    """Load a model folder, to hear whole windows where `exact`; versions, and the types it runs in."""
    from asr.transcribe.recognizer import Recognizer

    torch.set_num_threads(threads)
    recognizer = loaded["recognizer"] = Recognizer.load(model, "cpu", dtype, exact=exact)
    return {**versions(["asr-toolkit", "torch"]), "dtype": recognizer.dtype}


def transcribe(files: Sequence[str], language: str | None, alone: bool = False) -> dict[str, Any]:
    """Texts of files, all handed over at once as `asr transcribe` does; `alone` gives each to the model by itself."""
    from asr.transcribe.requests import RequestOptions

    engine = loaded["recognizer"].engine
    options = RequestOptions(language=language, bulk=True)
    watch = Stopwatch()
    with watch.running():
        if alone:
            texts = [engine.submit(file, options).result().text for file in files]
        else:
            texts = [handle.result().text for handle in [engine.submit(file, options) for file in files]]
    return {"texts": texts, **watch.to_json()}


def memory() -> dict[str, float]:
    """Most MB that this process ever held, and those that it held after `import torch`."""
    return {"peak": peak_mb(), "torch": BASE}


if __name__ == "__main__":
    serve({"load": load, "transcribe": transcribe, "memory": memory})
