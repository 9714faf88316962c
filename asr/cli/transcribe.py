"""asr transcribe"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asr.cli.options import (
    Confidence,
    Device,
    Dtype,
    HotwordList,
    Hotwords,
    Lm,
    LmMode,
    Overrides,
    Search,
    Threads,
    choose_formats,
    search_request,
    use_threads,
)

if TYPE_CHECKING:
    from asr.transcribe.files import Done
    from asr.transcribe.inputs import Job, Recording
    from asr.types import Segment


def transcribe(
    audio: Annotated[list[str], typer.Argument(metavar="FILE_OR_DIR", help="Audio files, folders and globs.")],
    model: Annotated[Path, typer.Option(help="Model folder.")],
    formats: Annotated[
        str, typer.Option("--format", help="txt, json, ctm, srt, textgrid; several with commas: txt,json.")
    ] = "txt",
    output_dir: Annotated[
        Path | None, typer.Option(help="Write files here, as the inputs are arranged; standard output otherwise.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Do files again whose output exists.")] = False,
    search: Search = None,
    lm: Lm = None,
    lm_mode: LmMode = None,
    hotwords: Hotwords = None,
    hotword: HotwordList = None,
    overrides: Overrides = None,
    device: Device = "auto",
    threads: Threads = None,
    dtype: Dtype = "float32",
    confidence: Confidence = "posterior",
    max_span: Annotated[
        float, typer.Option(min=1.0, help="Seconds the model hears at once; longer audio is cut at quiet points.")
    ] = 20.0,
) -> None:
    """Turn audio into text.

    Without --output-dir, one file gives its text, more give a line "file TAB text" each; JSON is one object a line.

    Times and confidences of words (json, ctm, textgrid) come from a model's CTC output; one without has none.

    A file that cannot be read is reported at the end, the others are done. Existing outputs are kept.
    """
    from asr.training.metrics import Display
    from asr.transcribe.files import Failed, transcribe_files
    from asr.transcribe.inputs import find_all
    from asr.transcribe.recognizer import Recognizer

    names = choose_formats(formats, output_dir)
    recordings, problems = find_all(audio)
    planned = _jobs(recordings, names, output_dir)
    jobs = [job for job in planned if overwrite or not job.is_done]
    display = Display()
    if len(jobs) < len(planned):
        display.say(f"{len(planned) - len(jobs)} of {len(planned)} files are done already; --overwrite does them again")
    labelled = len(audio) > 1 or not Path(audio[0]).is_file()
    audio_seconds = seconds = 0.0
    if jobs:
        use_threads(threads)
        request = search_request(search, overrides, lm, lm_mode, hotwords, hotword)
        recognizer = Recognizer.load(model, device, dtype, request, max_span_seconds=max_span, confidence=confidence)

        def show_position(path: Path, segment: Segment) -> None:
            display.update(f"{path}  {segment.end:.0f} s  {segment.text}")

        results = transcribe_files(recognizer, [job.recording.audio for job in jobs], str(model), show_position)
        for job, result in zip(jobs, results, strict=True):
            if isinstance(result, Failed):
                problems.append(result.reason)
                continue
            _deliver(result, job, names, labelled)
            audio_seconds += result.source.duration
            seconds += result.seconds
    if audio_seconds:
        rtf = seconds / audio_seconds
        display.say(f"{audio_seconds:.1f} s of audio in {seconds:.1f} s (RTF {rtf:.3f})")
    for problem in problems:
        display.say(f"error: {problem}")
    if problems:
        raise typer.Exit(1)


def _jobs(recordings: list[Recording], names: list[str], output_dir: Path | None) -> list[Job]:
    from asr.transcribe.inputs import Job, OutputClashError, plan_outputs

    if output_dir is None:
        return [Job(recording, {}) for recording in recordings]
    try:
        return plan_outputs(recordings, names, output_dir)
    except OutputClashError as error:
        raise typer.BadParameter(str(error)) from error


def _deliver(done: Done, job: Job, names: list[str], labelled: bool) -> None:
    """Write a transcript into its files, or to standard output if it has none."""
    from asr.runtime import write_text_atomic
    from asr.transcribe.writers import WRITERS

    for name, path in job.outputs.items():
        write_text_atomic(path, WRITERS[name](done.transcript, done.source))
    if not job.outputs:
        text = WRITERS[names[0]](done.transcript, done.source)
        if labelled and names == ["txt"]:
            text = f"{done.source.audio}\t{done.transcript.text}\n"
        typer.echo(text, nl=False)
