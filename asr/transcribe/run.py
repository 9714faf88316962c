"""All that `asr transcribe` does once it knows what is wanted: recordings through one pipeline, files out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from asr.audio.channels import SPLIT, Channels
from asr.audio.raw import RawFormat
from asr.errors import AudioError
from asr.system.display import Display
from asr.system.outputs import check_outputs
from asr.system.processes import num_cores
from asr.system.runtime import peak_memory_mb, write_text_atomic
from asr.transcribe.empty import EmptyTranscripts
from asr.transcribe.files import Done, Failed, transcribe_files
from asr.transcribe.inputs import Job, Recording, find_all, plan_outputs, standard_input
from asr.transcribe.pipeline import Pipeline
from asr.transcribe.progress import Progress
from asr.transcribe.recognizer import Recognizer
from asr.transcribe.subtitles import SubtitleRules
from asr.transcribe.workers import recognize, worker_pool
from asr.transcribe.writers import WRITERS
from asr.transcribe.writers.base import channel_label
from asr.types import Segment


@dataclass(frozen=True)
class Wanted:
    """What is to become of recordings."""

    formats: Sequence[str]
    rules: SubtitleRules
    model: str  # its name in outputs
    folder: Path | None = None  # for outputs; None is standard output
    overwrite: bool = False  # what exists
    channel: Channels = None
    verbose: bool = False  # segments are shown as they come
    also_read: Sequence[Path | str | None] = ()  # besides the sources: nothing is written over these
    labelled: bool = False  # on standard output, a text stands behind the name of its recording


@dataclass(frozen=True)
class Power:
    """How many processes recognise, and how many CPU threads each has; by default they share the cores."""

    workers: int = 1
    threads: int | None = None


def transcribe_sources(
    sources: Sequence[str],
    raw: RawFormat | None,
    load: Callable[[], Recognizer],
    wanted: Wanted,
    power: Power,
    display: Display,
    write: Callable[[str], None],
) -> bool:
    """Transcribe what a user named; False if something could not be, which is told at the end.

    Raises OutputClashError, before any work, where two recordings would become the same file, and what
    `asr.system.outputs.check_outputs` raises.
    """
    with standard_input(sources) as stdin:
        recordings, problems = find_all(sources, raw=raw, stdin=stdin)
        planned = plan_outputs(recordings, wanted.formats, wanted.folder)
        read = (*wanted.also_read, *sources, *(recording.audio for recording in recordings))
        check_outputs((path for job in planned for path in job.outputs.values()), read)
        jobs = [job for job in planned if wanted.overwrite or not job.is_done]
        if num_done := len(planned) - len(jobs):
            display.say(f"{num_done} of {len(planned)} files are done already; --overwrite does them again")
        if jobs:
            labelled = len(sources) > 1 or len(recordings) != 1 or Path(sources[0]).is_dir()
            problems += run(jobs, load, replace(wanted, labelled=labelled), power, display, write)
    for problem in problems:
        display.say(f"error: {problem}")
    return not problems


def run(
    jobs: Sequence[Job],
    load: Callable[[], Recognizer],
    wanted: Wanted,
    power: Power,
    display: Display,
    write: Callable[[str], None],
) -> list[str]:
    """Transcribe all jobs; what belongs on standard output is given to `write`. Returns what went wrong, a line each.

    `load` makes the model, once or in every worker, where it is pickled.
    """
    recognizer = load()
    progress = Progress(_total_seconds(jobs, wanted.channel) if display.is_live else None)

    def show_segment(recording: Recording, segment: Segment) -> None:
        if wanted.verbose:
            where = f"{recording.name}  " if len(jobs) > 1 else ""
            label = channel_label(segment.channel)
            display.say(f"{where}{segment.start:.2f} to {segment.end:.2f} s  {label}{segment.text}")

    def show_position(recording: Recording, seconds: float) -> None:
        progress.add(seconds)
        display.update(progress.line(recording))

    problems = []
    empty = EmptyTranscripts()
    with _pipeline(recognizer, load, power) as pipeline:
        results = transcribe_files(
            pipeline,
            [job.recording for job in jobs],
            recognizer.sample_rate,
            wanted.model,
            channel=wanted.channel,
            on_segment=show_segment,
            on_read=show_position,
        )
        for job, result in zip(jobs, results, strict=True):
            if isinstance(result, Failed):
                problems.append(result.reason)
            else:
                empty.add(result)
                _deliver(job, result, wanted, write)
    if progress.audio_seconds:
        display.say(progress.summary(peak_memory_mb()))
    for warning in empty.warnings():
        display.say(f"warning: {warning}")
    return problems


@contextmanager
def _pipeline(recognizer: Recognizer, load: Callable[[], Recognizer], power: Power) -> Iterator[Pipeline]:
    if power.workers == 1:
        yield recognizer.pipeline()
        return
    threads = power.threads or max(1, num_cores() // power.workers)
    with worker_pool(power.workers, load, threads) as pool:
        yield Pipeline(
            recognizer.segmenter,
            recognize,
            max_batch_seconds=recognizer.max_batch_seconds,
            executor=pool,
            max_in_flight=2 * power.workers,
        )


def _deliver(job: Job, done: Done, wanted: Wanted, write: Callable[[str], None]) -> None:
    """Write a transcript into its files, or hand it over if it has none."""
    for name, path in job.outputs.items():
        write_text_atomic(path, WRITERS[name](done.transcript, done.source, wanted.rules))
    if job.outputs:
        return
    name = wanted.formats[0]
    if wanted.labelled and name == "txt":
        write(f"{done.source.audio}\t{done.transcript.text}\n")
    else:
        write(WRITERS[name](done.transcript, done.source, wanted.rules))


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
