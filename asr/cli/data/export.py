"""asr data export"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asr.cli.inputs import require_files
from asr.cli.outputs import check_outputs

KALDI_FILES = ("wav.scp", "segments", "text", "utt2spk", "spk2utt", "utt2lang")


def export(
    manifest: Annotated[Path, typer.Argument(help="Utterances to export.", metavar="MANIFEST")],
    format_name: Annotated[str, typer.Option("--format", help="kaldi, nemo or lhotse.")],
    out: Annotated[Path, typer.Option(help="Folder for kaldi; for nemo and lhotse a file, .jsonl or .jsonl.gz.")],
    root: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write audio paths relative to it. Default: absolute paths.")
    ] = None,
) -> None:
    """Write a manifest as a Kaldi data folder, a NeMo manifest or lhotse cuts.

    `asr data import` reads all of it back. What a format cannot hold, such as an id with spaces in Kaldi, is refused.
    """
    require_files(manifest)
    from asr.corpora.exporters import EXPORTERS
    from asr.data.manifest import read_manifest
    from asr.registry import did_you_mean
    from asr.system.display import Display, counted

    if format_name not in EXPORTERS:
        raise typer.BadParameter(f"unknown format '{format_name}'{did_you_mean(format_name, EXPORTERS)}")
    written = [out / name for name in KALDI_FILES] if format_name == "kaldi" else [out]
    check_outputs(written, (manifest,))
    display = Display()
    utterances = read_manifest(manifest)
    for warning in EXPORTERS[format_name].write(utterances, out, root):
        display.say(f"warning: {warning}")
    display.say(f"{counted(len(utterances), 'utterance')}: {out}")
