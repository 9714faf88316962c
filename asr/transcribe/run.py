"""All that `asr transcribe` does once its options are known: recordings through one engine, files out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from asr.audio.channels import SPLIT, Channels
from asr.audio.raw import RawFormat
from asr.errors import AudioError, StoppedError
from asr.system.display import Display, clock
from asr.system.outputs import check_outputs
from asr.system.processes import num_cores
from asr.system.runtime import peak_memory_mb, write_text_atomic
from asr.transcribe.engine import DEFAULT_OPTIONS, Engine
from asr.transcribe.files import Transcribed, Untranscribed, transcribe_files
from asr.transcribe.inputs import Job, find_all, plan_outputs, standard_input
from asr.transcribe.live import LiveView
from asr.transcribe.progress import Progress
from asr.transcribe.recognizer import Recognizer
from asr.transcribe.requests import RequestOptions
from asr.transcribe.subtitles import SubtitleRules
from asr.transcribe.tally import Tally
from asr.transcribe.workers import worker_engine
from asr.transcribe.writers import WRITERS


@dataclass(frozen=True)
class OutputOptions:
    """What transcripts become."""

    formats: Sequence[str]
    rules: SubtitleRules
    model: str  # its name in outputs
    folder: Path | None = None  # for outputs; None is standard output
    overwrite: bool = False  # what exists
    request: RequestOptions = DEFAULT_OPTIONS
    verbose: bool = False  # segments are shown as they come
    partial: bool = False  # what can be read of a recording that breaks off counts
    also_read: Sequence[Path | str | None] = ()  # besides the sources: nothing is written over these
    to_terminal: bool = False  # standard output is one
    labelled: bool = False  # on standard output, a text stands behind the name of its recording

    @property
    def is_plain_text(self) -> bool:
        """Whether the text of a segment can be written as soon as it is ready."""
        is_txt = self.folder is None and list(self.formats) == ["txt"]
        return is_txt and not self.labelled and self.request.channel != SPLIT


@dataclass(frozen=True)
class WorkerOptions:
    """How many processes recognise, and how many CPU threads each has; by default they share the cores."""

    num_processes: int = 1
    threads: int | None = None


def transcribe_sources(
    sources: Sequence[str],
    raw: RawFormat | None,
    load: Callable[[], Recognizer],
    output: OutputOptions,
    workers: WorkerOptions,
    display: Display,
    write: Callable[[str], None],
) -> bool:
    """Transcribe what a user named; False if something could not be, which is reported at the end.

    Raises OutputClashError, before any work, where two recordings would become the same file, and what
    `asr.system.outputs.check_outputs` raises.
    """
    with standard_input(sources) as stdin:
        recordings, problems = find_all(sources, raw=raw, stdin=stdin)
        planned = plan_outputs(recordings, output.formats, output.folder)
        read = (*output.also_read, *sources, *(recording.audio for recording in recordings))
        check_outputs((path for job in planned for path in job.outputs.values()), read)
        jobs = [job for job in planned if output.overwrite or not job.is_done]
        if num_done := len(planned) - len(jobs):
            display.say(f"{num_done} of {len(planned)} files are done already; --overwrite does them again")
        tally = Tally()
        if jobs:
            labelled = len(sources) > 1 or len(recordings) != 1 or Path(sources[0]).is_dir()
            try:
                problems += run(jobs, load, replace(output, labelled=labelled), workers, display, write, tally)
            except KeyboardInterrupt:
                advice = "without --overwrite " if output.overwrite else ""
                resumable = f"; repeat the command {advice}to go on" if output.folder is not None else ""
                done = num_done + tally.num_files
                raise StoppedError(
                    f"interrupted: {done} of {len(planned)} files are done{tally.kept}{resumable}"
                ) from None
    for problem in problems:
        display.say(f"error: {problem}")
    return not problems and not tally.incomplete


def run(
    jobs: Sequence[Job],
    load: Callable[[], Recognizer],
    output: OutputOptions,
    workers: WorkerOptions,
    display: Display,
    write: Callable[[str], None],
    tally: Tally,
) -> list[str]:
    """Transcribe all jobs; what belongs on standard output is given to `write`. Returns what went wrong, a line each.

    `load` makes the model, once or in every worker, where it is pickled.
    """
    recognizer = load()
    tally.tells_untimed = not {"ctm", "textgrid"}.isdisjoint(output.formats)
    tally.tells_narrow = recognizer.bundle.frontend.window_seconds is None  # Whisper has heard telephones, too
    progress = Progress(_total_seconds(jobs, output.request.channel) if display.is_live else None)

    is_alone = len(jobs) == 1
    echoes = is_alone and output.to_terminal and output.is_plain_text
    view = LiveView(
        display,
        progress,
        shows_segments=output.verbose or (display.is_live and is_alone),
        is_labelled=not is_alone,
        echo=write if echoes else None,
    )
    problems = []
    with _engine(recognizer, load, workers) as engine:
        results = transcribe_files(
            engine,
            [replace(job.recording, partial=output.partial) for job in jobs],
            output.model,
            dtype=recognizer.dtype,
            options=output.request,
            partial=output.partial,
            on_segment=view.segment,
            on_read=view.position,
        )
        try:
            for job, result in zip(jobs, results, strict=True):
                view.finish()
                if isinstance(result, Untranscribed):
                    problems.append(result.reason)
                else:
                    _deliver(job, result, output, write, view.echoed)
                    tally.add(result)
        except KeyboardInterrupt:
            display.clear()
            tally.kept = _keep(view, jobs, output, write)
            raise
    if progress.audio_seconds:
        display.say(progress.summary(peak_memory_mb()))
    for warning in tally.warnings():
        display.say(f"warning: {warning}")
    return problems


@contextmanager
def _engine(recognizer: Recognizer, load: Callable[[], Recognizer], workers: WorkerOptions) -> Iterator[Engine]:
    if workers.num_processes == 1:
        with recognizer.engine as engine:
            yield engine
        return
    threads = workers.threads or max(1, num_cores() // workers.num_processes)
    with worker_engine(workers.num_processes, load, threads, recognizer) as engine:
        yield engine


def _keep(view: LiveView, jobs: Sequence[Job], output: OutputOptions, write: Callable[[str], None]) -> str:
    """Deliver what there is of the recording that was broken off, beside where all of it would be; says so."""
    done = view.unfinished(output.model)
    if done is None:
        return ""
    job = next(job for job in jobs if replace(job.recording, partial=output.partial) == done.recording)
    outputs = {name: partial_output(path) for name, path in job.outputs.items()}
    _deliver(Job(job.recording, outputs), done, output, write, view.echoed)
    where = f", in {', '.join(map(str, outputs.values()))}" if outputs else ""
    return f", {done.source.audio} as far as {clock(done.source.duration)}{where}"


def partial_output(path: Path) -> Path:
    """Where a part of a transcript is kept, so that nobody takes it for the whole: talk.partial.txt for talk.txt."""
    return path.with_name(f"{path.stem}.partial{path.suffix}")


def _deliver(
    job: Job, done: Transcribed, output: OutputOptions, write: Callable[[str], None], echoed: str = ""
) -> None:
    """Write a transcript into its files, or hand it over if it has none; `echoed` is handed over already."""
    for name, path in job.outputs.items():
        write_text_atomic(path, WRITERS[name](done.transcript, done.source, output.rules))
        partial_output(path).unlink(missing_ok=True)
    if job.outputs:
        return
    name = output.formats[0]
    if output.labelled and name == "txt":
        write(f"{done.source.audio}\t{done.transcript.text}\n")
    elif (text := WRITERS[name](done.transcript, done.source, output.rules)) != echoed:
        write(text)


def _total_seconds(jobs: Sequence[Job], channel: Channels) -> float:
    """What their headers say that all recordings have; those that cannot be read have nothing."""
    total = 0.0
    for job in jobs:
        try:
            info = job.recording.info()
        except AudioError:
            continue
        seconds = info.duration - job.recording.start
        if job.recording.duration is not None:
            seconds = min(seconds, job.recording.duration)
        total += seconds * (info.num_channels if channel == SPLIT else 1)
    return total
