"""asr transcribe"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asr.cli.options import (
    Confidence,
    CuePause,
    Device,
    Dtype,
    HotwordList,
    Hotwords,
    Lm,
    LmMode,
    MaxCueSeconds,
    MaxLineLength,
    MaxLines,
    Overrides,
    Search,
    Threads,
    choose_formats,
    search_request,
    subtitle_rules,
    use_threads,
)

if TYPE_CHECKING:
    from asr.transcribe.inputs import Job, Recording


def transcribe(
    audio: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE_OR_DIR", help="Audio and video files, folders, globs, manifests (.jsonl), - for a pipe."
        ),
    ],
    model: Annotated[Path, typer.Option(help="Model folder.")],
    formats: Annotated[
        str, typer.Option("--format", help="txt, srt, vtt, json, tsv, ctm, textgrid; several with commas: txt,json.")
    ] = "txt",
    output_dir: Annotated[
        Path | None, typer.Option(help="Write files here, as the inputs are arranged; standard output otherwise.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Do files again whose output exists.")] = False,
    channel: Annotated[
        str, typer.Option(help="mix (the mean of all), the number of one from 0, or split: each by itself.")
    ] = "mix",
    raw: Annotated[
        str | None,
        typer.Option(
            metavar="RATE[:CHANNELS[:ENCODING]]", help="Headerless samples: 8000, 16000:2, 8000:1:ulaw (default s16le)."
        ),
    ] = None,
    vad: Annotated[
        str | None, typer.Option(help="What finds speech: silero, energy, or none: all is heard. Default: silero.")
    ] = None,
    max_span: Annotated[
        float | None, typer.Option(min=1.0, help="Seconds the model hears at once; longer speech is cut in its pauses.")
    ] = None,
    min_confidence: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Segments that the model is less sure of are left out.")
    ] = 0.0,
    search: Search = None,
    lm: Lm = None,
    lm_mode: LmMode = None,
    hotwords: Hotwords = None,
    hotword: HotwordList = None,
    overrides: Overrides = None,
    confidence: Confidence = "posterior",
    max_line_length: MaxLineLength = 42,
    max_lines: MaxLines = 2,
    max_cue_seconds: MaxCueSeconds = 7.0,
    cue_pause: CuePause = 0.8,
    device: Device = "auto",
    dtype: Dtype = "float32",
    threads: Threads = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes, each with a model; they share the cores.")] = 1,
    batch_seconds: Annotated[
        float, typer.Option(min=1.0, help="Longest span times number of spans that are recognised at once.")
    ] = 60.0,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show segments as they come, on standard error.")] = False,
) -> None:
    """Turn audio into text.

    Without --output-dir, one file gives its text, more give a line "file TAB text" each; JSON is one object a line.

    Times and confidences of words (json, ctm, textgrid) come from a model's CTC output; one without has none.

    A file that cannot be read is reported at the end, the others are done. Existing outputs are kept, so the same
    command goes on with what was interrupted.
    """
    from asr.audio.channels import parse_channel
    from asr.audio.raw import parse_raw_format
    from asr.display import Display
    from asr.transcribe.inputs import find_all, standard_input
    from asr.transcribe.recognizer import Recognizer
    from asr.transcribe.run import Power, Wanted, run
    from asr.transcribe.segmentation import segmentation_config

    names = choose_formats(formats, output_dir)
    rules = subtitle_rules(max_line_length, max_lines, max_cue_seconds, cue_pause)
    channels = parse_channel(channel)
    use_threads(threads)
    settings = overrides or ()
    load = partial(
        Recognizer.load,
        model,
        device,
        dtype,
        search_request(search, [one for one in settings if not _of_segmentation(one)], lm, lm_mode, hotwords, hotword),
        segmentation=segmentation_config(vad, max_span, [one for one in settings if _of_segmentation(one)]),
        max_batch_seconds=batch_seconds,
        confidence=confidence,
        min_confidence=min_confidence,
    )
    display = Display()
    with standard_input(audio) as stdin:
        recordings, problems = find_all(audio, raw=parse_raw_format(raw) if raw else None, stdin=stdin)
        planned = _jobs(recordings, names, output_dir)
        jobs = [job for job in planned if overwrite or not job.is_done]
        if len(jobs) < len(planned):
            done = len(planned) - len(jobs)
            display.say(f"{done} of {len(planned)} files are done already; --overwrite does them again")
        if jobs:
            labelled = len(audio) > 1 or len(recordings) > 1 or Path(audio[0]).is_dir()
            wanted = Wanted(names, rules, str(model), channels, labelled, verbose)
            problems += run(jobs, load, wanted, Power(workers, threads), display, partial(typer.echo, nl=False))
    for problem in problems:
        display.say(f"error: {problem}")
    if problems:
        raise typer.Exit(1)


def _of_segmentation(override: str) -> bool:
    return override.startswith("segmentation.")


def _jobs(recordings: Sequence[Recording], names: Sequence[str], output_dir: Path | None) -> list[Job]:
    from asr.transcribe.inputs import OutputClashError, plan_outputs

    try:
        return plan_outputs(recordings, names, output_dir)
    except OutputClashError as error:
        raise typer.BadParameter(str(error)) from error
