"""asr transcribe"""

from __future__ import annotations

import functools
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from asr.bundle.catalogue import DEFAULT_MODEL
from asr.cli.audio_options import Channel, MaxSpan, MinConfidence, Raw, Vad, parse_channel_option, parse_raw_option
from asr.cli.inputs import check_overrides, require_files, require_lm, require_model, require_some_source
from asr.cli.options import (
    Adapter,
    Confidence,
    CuePause,
    Device,
    Dtype,
    EachLanguage,
    Exact,
    HotwordList,
    Hotwords,
    Language,
    Lm,
    LmMode,
    MaxCueSeconds,
    MaxLineLength,
    MaxLines,
    Overrides,
    Prompt,
    Search,
    Task,
    Threads,
    choose_formats,
    search_request,
    subtitle_rules,
    use_threads,
)
from asr.cli.outputs import MODEL_FILES

Sources = Annotated[
    list[str],
    typer.Argument(metavar="FILE_OR_DIR", help="Audio and video files, folders, globs, manifests, - for a pipe."),
]
Model = Annotated[Path, typer.Option(help="Model folder, or a name that `asr models list` shows.")]
Formats = Annotated[
    str, typer.Option("--format", help="txt, srt, vtt, json, tsv, ctm, textgrid; several with commas: txt,json.")
]
OutputDir = Annotated[
    Path | None, typer.Option(help="Write files here, as the inputs are arranged; standard output otherwise.")
]
Partial = Annotated[
    bool,
    typer.Option("--partial", help="Write what can be read of a recording that breaks off: a warning, status 1."),
]
Replace = Annotated[
    Path | None,
    typer.Option(
        "--replace",
        metavar="FILE",
        help="Exact replacements in the text, a line 'from TAB to' for each; whole words, case counts, times are kept.",
    ),
]
Workers = Annotated[int, typer.Option(min=1, help="Processes, each with a model of its own; they share the cores.")]
BatchSeconds = Annotated[
    float | None,
    typer.Option(
        min=1.0, help="Longest span times number of spans that are recognised at once: 60, and 120 with Whisper models."
    ),
]


def transcribe(
    audio: Sources,
    model: Model = Path(DEFAULT_MODEL),
    formats: Formats = "txt",
    output_dir: OutputDir = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Do files again whose output exists.")] = False,
    partial: Partial = False,
    channel: Channel = "mix",
    raw: Raw = None,
    vad: Vad = None,
    max_span: MaxSpan = None,
    min_confidence: MinConfidence = 0.0,
    search: Search = None,
    lm: Lm = None,
    lm_mode: LmMode = None,
    hotwords: Hotwords = None,
    hotword: HotwordList = None,
    overrides: Overrides = None,
    language: Language = None,
    each_language: EachLanguage = False,
    task: Task = None,
    prompt: Prompt = None,
    exact: Exact = False,
    replacements: Replace = None,
    confidence: Confidence = "posterior",
    max_line_length: MaxLineLength = 42,
    max_lines: MaxLines = 2,
    max_cue_seconds: MaxCueSeconds = 7.0,
    cue_pause: CuePause = 0.8,
    device: Device = "auto",
    dtype: Dtype = "auto",
    adapter: Adapter = None,
    threads: Threads = None,
    workers: Workers = 1,
    batch_seconds: BatchSeconds = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show segments as they come, on standard error.")] = False,
) -> None:
    """Turn audio into text.

    Without --output-dir, one file gives its text, more give a line "file TAB text" each; JSON is one object a line.

    Words have times and confidences (json, ctm, textgrid, subtitles) where the model has CTC or is a Whisper.

    A file that cannot be read, or not to its end, is reported at the end, the others are done. Existing outputs are
    kept, so that the same command goes on with what was interrupted.
    """
    require_some_source(audio)
    require_files(hotwords, replacements, adapter)
    require_lm(lm)
    check_overrides(overrides, "search", "segmentation")
    folder = require_model(model)
    from asr.system.display import Display
    from asr.transcribe.inputs import OutputClashError
    from asr.transcribe.recognizer import Recognizer
    from asr.transcribe.replacements import read_replacements
    from asr.transcribe.requests import RequestOptions
    from asr.transcribe.run import OutputOptions, WorkerOptions, transcribe_sources
    from asr.transcribe.segmentation import segmentation_config, split_overrides

    names = choose_formats(formats, output_dir)
    rules = subtitle_rules(max_line_length, max_lines, max_cue_seconds, cue_pause)
    where = parse_channel_option(channel)
    request = RequestOptions(None, language, each_language, task, prompt, channel=where)
    if replacements is not None:
        request = replace(request, replacements=read_replacements(replacements))
    output = OutputOptions(names, rules, str(model), output_dir, overwrite, request, verbose)
    read = (lm, hotwords, replacements, *(folder / name for name in MODEL_FILES))
    output = replace(output, partial=partial, also_read=read, to_terminal=sys.stdout.isatty())
    of_segmentation, of_search = split_overrides(overrides or ())
    use_threads(threads)
    load = functools.partial(
        Recognizer.load,
        folder,
        device,
        dtype,
        search_request(search, of_search, lm, lm_mode, hotwords, hotword),
        segmentation=segmentation_config(vad, max_span, of_segmentation),
        max_batch_seconds=batch_seconds,
        confidence=confidence,
        min_confidence=min_confidence,
        exact=exact,
        adapter=adapter,
    )
    write = functools.partial(typer.echo, nl=False)
    try:
        is_fine = transcribe_sources(
            audio, parse_raw_option(raw), load, output, WorkerOptions(workers, threads), Display(), write
        )
    except OutputClashError as error:
        raise typer.BadParameter(str(error)) from error
    if not is_fine:
        raise typer.Exit(1)
