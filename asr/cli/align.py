"""asr align"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from asr.cli.inputs import require_files, require_model
from asr.cli.options import (
    Confidence,
    CuePause,
    Device,
    MaxCueSeconds,
    MaxLineLength,
    MaxLines,
    Threads,
    choose_formats,
    subtitle_rules,
    use_threads,
)
from asr.cli.outputs import check_outputs


class Level(StrEnum):
    """What becomes a segment or a subtitle."""

    LINES = "lines"
    WORDS = "words"


def align(
    audio: Annotated[Path, typer.Argument(metavar="AUDIO", help="A recording of any length.")],
    text: Annotated[Path, typer.Argument(metavar="TEXT_FILE", help="What is said in it, as lines of UTF-8 text.")],
    model: Annotated[Path, typer.Option(help="Model folder, or a name that `asr models list` shows.")],
    formats: Annotated[
        str, typer.Option("--format", help="txt, srt, vtt, json, tsv, ctm, textgrid; several with commas: ctm,srt.")
    ] = "json",
    level: Annotated[Level, typer.Option(help="Whether a segment, or a subtitle, is a line or a word.")] = Level.LINES,
    output_dir: Annotated[Path | None, typer.Option(help="Write files here; standard output otherwise.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Do it again if the output exists.")] = False,
    language: Annotated[
        str | None, typer.Option(help="Spoken, by code, for models that know several; found by the model otherwise.")
    ] = None,
    device: Device = "auto",
    threads: Threads = None,
    confidence: Confidence = "posterior",
    max_line_length: MaxLineLength = 42,
    max_lines: MaxLines = 2,
    max_cue_seconds: MaxCueSeconds = 7.0,
    cue_pause: CuePause = 0.8,
) -> None:
    """Find when each word of a text is said in a recording.

    Lines and words that were not spoken are named on standard error; they have confidence near 0 in the output.
    """
    require_files(audio, text)
    folder = require_model(model)
    from asr import __version__
    from asr.audio.io import audio_info
    from asr.bundle.bundle import Bundle
    from asr.system.runtime import resolve_device, write_text_atomic
    from asr.transcribe.align import build_aligner
    from asr.transcribe.align.aligner import by_words
    from asr.transcribe.align.script import read_script
    from asr.transcribe.align.warnings import unspoken_warnings, unwritable_warning
    from asr.transcribe.inputs import plan_outputs
    from asr.transcribe.recordings import FileRecording
    from asr.transcribe.writers import WRITERS, TranscriptSource

    names = choose_formats(formats, output_dir)
    rules = subtitle_rules(max_line_length, max_lines, max_cue_seconds, cue_pause)
    outputs = plan_outputs([FileRecording(audio, Path(audio.name))], names, output_dir)[0].outputs if output_dir else {}
    check_outputs(outputs.values(), (audio, text), folder)
    if outputs and not overwrite and all(path.exists() for path in outputs.values()):
        typer.echo(f"{audio} is done already; --overwrite does it again", err=True)
        return
    use_threads(threads)
    where = resolve_device(device)
    bundle = Bundle.load(folder, where)
    script = read_script(text, bundle)
    aligned = build_aligner(bundle, folder, language, confidence=confidence).align(audio, script)
    for warning in (*unwritable_warning(text, script), *unspoken_warnings(text, audio, script, aligned)):
        typer.echo(f"warning: {warning}", err=True)
    transcript = by_words(aligned.transcript) if level is Level.WORDS else aligned.transcript
    source = TranscriptSource(str(audio), audio_info(audio).duration, str(model), __version__)
    for name, path in outputs.items():
        write_text_atomic(path, WRITERS[name](transcript, source, rules))
    if not outputs:
        typer.echo(WRITERS[names[0]](transcript, source, rules), nl=False)
