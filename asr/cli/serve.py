"""asr serve"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated

import typer

from asr.bundle.catalogue import DEFAULT_MODEL
from asr.cli.inputs import check_overrides, require_model
from asr.cli.options import Device, Dtype, Overrides, Threads, use_threads

Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        metavar="[ID=]MODEL",
        help="Model folder, or a name that `asr models list` shows, and the id that requests name it by; may be given "
        "several times. The first is the default.",
    ),
]


def serve(
    model: Models = None,
    host: Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0 is all of this machine's.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen at; 0 takes a free one.")] = 8000,
    overrides: Overrides = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    threads: Threads = None,
) -> None:
    """Serve models over HTTP and websockets, as OpenAI's API does, from one engine that batches across requests.

    POST /v1/audio/transcriptions and /v1/audio/translations, GET /v1/models, websocket /v1/stream; docs/serving.md
    describes them. `--set serve.KEY=VALUE` changes limits, `streaming.` and `segmentation.` what they do elsewhere.
    """
    check_overrides(overrides, "serve", "segmentation", "streaming")
    require_serving()
    from asr.serve.models import name_models
    from asr.serve.settings import serve_config

    models = {name: require_model(Path(place)) for name, place in name_models(model or [DEFAULT_MODEL]).items()}
    settings = {
        group: [one for one in overrides or () if one.startswith(f"{group}.")]
        for group in ("serve", "streaming", "segmentation")
    }
    limits = serve_config(settings["serve"])
    from asr.serve.app import create_app
    from asr.serve.server import listening_socket
    from asr.serve.server import serve as run
    from asr.system.display import Display
    from asr.transcribe.recognizer import Recognizer
    from asr.transcribe.segmentation import segmentation_config
    from asr.transcribe.streaming.settings import streaming_config

    streaming = streaming_config(overrides=settings["streaming"])
    segmentation = segmentation_config(None, None, settings["segmentation"])
    use_threads(threads)
    loaders = {
        name: functools.partial(Recognizer.load, folder, device, dtype, segmentation=segmentation)
        for name, folder in models.items()
    }
    sock = listening_socket(host, port)
    Display().say(f"serving {', '.join(models)} at http://{host}:{sock.getsockname()[1]}")
    run(create_app(loaders, limits, streaming), sock)


def require_serving() -> None:
    """ConfigError unless the packages of the extra `serve` are there."""
    from importlib.util import find_spec

    from asr.errors import ConfigError

    missing = [name for name in ("fastapi", "uvicorn", "python_multipart", "websockets") if find_spec(name) is None]
    if missing:
        raise ConfigError(f"a server needs {', '.join(missing)}: pip install 'asr-toolkit[serve]'")
