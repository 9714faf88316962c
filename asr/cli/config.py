"""asr config"""

from __future__ import annotations

from typing import Annotated

import typer


def config(
    key: Annotated[
        str | None,
        typer.Argument(metavar="KEY", help="A setting or a block: training, encoder.dim, search, serve ..."),
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="As the page docs/configuration.md has it.")] = False,
) -> None:
    """List the settings of an experiment, of decoding and of a server: default, range, meaning."""
    from asr.config import Experiment
    from asr.config_reference import all_keys, keys_under, to_markdown, to_text
    from asr.registry import Config
    from asr.serve.settings import ServeConfig
    from asr.transcribe.segmentation import SegmentationConfig
    from asr.transcribe.streaming.settings import StreamingConfig

    roots: dict[str, type[Config]] = {
        "": Experiment,
        "segmentation": SegmentationConfig,
        "streaming": StreamingConfig,
        "serve": ServeConfig,
    }
    keys = all_keys(roots)
    found = keys if key is None else keys_under(keys, key)
    typer.echo(to_markdown(found) if markdown else to_text(found), nl=False)
