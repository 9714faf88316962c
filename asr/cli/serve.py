"""asr serve"""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Annotated

import typer

from asr.bundle.catalogue import DEFAULT_MODEL
from asr.cli.inputs import check_overrides, require_files, require_model
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
    api_keys: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="API keys, one a line, one of which every caller must know; also in $ASR_API_KEYS."
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Another name than localhost that the server may be called by; repeatable."),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(metavar="ORIGIN", help="Pages elsewhere that may use it, as https://example.org; repeatable."),
    ] = None,
    wyoming_port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            help="Also speak Wyoming, Home Assistant's protocol, here (usually 10300); it has no keys.",
        ),
    ] = None,
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
    require_files(api_keys)
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
    from asr.serve.logs import log_to
    from asr.serve.security import Access, read_keys
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
    access = Access(read_keys(api_keys), tuple(allow_host or ()), tuple(allow_origin or ()))
    sock = listening_socket(host, port)
    wyoming = None if wyoming_port is None else listening_socket(host, wyoming_port)
    Display().say(f"serving {', '.join(models)} at http://{host}:{sock.getsockname()[1]}")
    if wyoming is not None:
        Display().say(f"and Wyoming, which has no keys, at tcp://{host}:{wyoming.getsockname()[1]}")
    log_to(sys.stderr)
    if run(create_app(loaders, limits, streaming, access, wyoming), sock, limits):
        raise typer.Exit(130)


def require_serving() -> None:
    """ConfigError unless the packages of the extra `serve` are there."""
    from importlib.util import find_spec

    from asr.errors import ConfigError

    missing = [name for name in ("fastapi", "uvicorn", "python_multipart", "websockets") if find_spec(name) is None]
    if missing:
        raise ConfigError(f"a server needs {', '.join(missing)}: pip install 'asr-toolkit[serve]'")
