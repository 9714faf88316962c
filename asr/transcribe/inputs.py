"""What to transcribe and where the results go: files, folders, globs, manifests and standard input become jobs."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from asr.audio.io import AUDIO_SUFFIXES
from asr.audio.raw import RAW_SUFFIXES, RawFormat
from asr.data.manifest import read_manifest
from asr.errors import AsrError, AudioError
from asr.transcribe.recordings import FileRecording
from asr.transcribe.writers import SUFFIXES

STDIN = "-"  # the argument that means standard input
TABLE_SUFFIXES = {".csv", ".tsv", ".json", ".scp"}  # that `asr data import` may make a manifest of
MANIFEST_SUFFIX = ".jsonl"
COPIED_BYTES = 1 << 20  # of standard input at a time
UNSAFE_IN_NAMES = '/\\:*?"<>|%'  # what means something in a path on some system, and what we put in its place


class OutputClashError(AsrError):
    """Two inputs whose results would be the same file: a mistake of usage."""


@dataclass(frozen=True)
class Job:
    """A recording and the files to make of it, by format; none where the result goes to standard output."""

    recording: FileRecording
    outputs: dict[str, Path]

    @property
    def is_done(self) -> bool:
        """Whether all outputs exist; each appears whole or not at all."""
        return bool(self.outputs) and all(path.exists() for path in self.outputs.values())


@contextmanager
def standard_input(arguments: Sequence[str], stream: BinaryIO | None = None) -> Iterator[Path | None]:
    """A file with all of standard input, if `-` is among the arguments; it is gone when the block ends.

    Any format can be read from a file, and seeking needs one. `stream` stands in for standard input. Raises AudioError
    where nobody would write to it or the disk is full.
    """
    if STDIN not in arguments:
        yield None
        return
    if stream is None:
        if sys.stdin is None:
            raise AudioError("standard input is closed; pipe a recording into it: ... | asr transcribe -")
        stream = sys.stdin.buffer
    if stream.isatty():
        raise AudioError("standard input is a terminal; pipe a recording into it: ... | asr transcribe -")
    with tempfile.TemporaryDirectory(prefix="asr-") as folder:
        copy = Path(folder, "stdin")
        try:
            with open(copy, "wb") as file:
                shutil.copyfileobj(stream, file, COPIED_BYTES)
        except OSError as error:
            raise AudioError(
                f"standard input: cannot be copied to {folder} ({error.strerror}); "
                "free space, or name another folder in TMPDIR"
            ) from error
        yield copy


def find_all(
    arguments: Iterable[str], *, raw: RawFormat | None = None, stdin: Path | None = None
) -> tuple[list[FileRecording], list[str]]:
    """The recordings that arguments mean, sorted within each, and what is wrong with the others.

    An argument is a file, a folder with all audio below it but hidden files, a glob (`**` too), a manifest (.jsonl) or
    `-`, for which `stdin` of `standard_input` stands. A path that does not exist becomes a recording, so that reading
    it says so. `raw` is the format of standard input and of all files whose suffix does not name another; folders are
    then searched for RAW_SUFFIXES, too.
    """
    recordings: list[FileRecording] = []
    problems: list[str] = []
    for argument in arguments:
        try:
            recordings += _find(argument, raw, stdin, problems)
        except (AsrError, OSError) as error:
            problems.append(str(error) if isinstance(error, AsrError) else f"{argument}: {error.strerror}")
    return recordings, problems


def plan_outputs(recordings: Iterable[FileRecording], formats: Sequence[str], folder: Path | None) -> list[Job]:
    """A job for each recording, outputs in `folder`, if any, mirroring the input tree with the suffix replaced.

    Recordings that differ in nothing but the suffix keep it: x.wav.txt, x.mp3.txt. Rows of manifests are named by their
    ids. A recording named twice is done once. Raises OutputClashError where two would write the same file.
    """
    if folder is None:
        return [Job(one, {}) for one in {_identity(one): one for one in recordings}.values()]
    distinct = list({(one.stem, _identity(one)): one for one in recordings}.values())
    uses = Counter(one.stem for one in distinct)
    jobs: dict[Path, Job] = {}
    for recording in distinct:
        stem = folder / (recording.stem if uses[recording.stem] == 1 else recording.relative)
        if (known := jobs.get(stem)) is not None:
            both = " and ".join(
                str(one.audio) if one.id is None else f"'{one.id}' of {one.audio}"
                for one in (known.recording, recording)
            )
            raise OutputClashError(
                f"{both} would both become {stem}.{formats[0]}; "
                "give the folder above them instead, or transcribe them into different folders"
            )
        outputs = {name: Path(f"{stem}.{SUFFIXES.get(name, name)}") for name in formats}
        jobs[stem] = Job(recording, outputs)
    return list(jobs.values())


def _identity(recording: FileRecording) -> tuple[object, ...]:
    """Equal for the same stretch of the same file, however the path is written; a link is another than its target."""
    audio = Path(os.path.realpath(recording.audio.parent), recording.audio.name)
    return audio, recording.id, recording.start, recording.duration


def _find(argument: str, raw: RawFormat | None, stdin: Path | None, problems: list[str]) -> list[FileRecording]:
    """The recordings of one argument; AsrError if there are none. Folders that cannot be read become problems."""
    if argument == STDIN:
        if stdin is None:
            raise AudioError("standard input was not opened")
        return [FileRecording(stdin, Path("stdin"), "stdin", raw=raw, is_copy=True)]
    if not argument:
        raise AudioError("one of the files has an empty name")
    path = Path(argument)
    if path.is_dir():
        suffixes = AUDIO_SUFFIXES if raw is None else AUDIO_SUFFIXES | RAW_SUFFIXES
        files = sorted(_audio_below(path, suffixes, problems))
        if not files:
            raise AudioError(f"{argument}: no audio in this folder; known suffixes: {', '.join(sorted(suffixes))}")
        return [FileRecording(file, file.relative_to(path), raw=_raw_of(file, raw)) for file in files]
    if path.suffix.lower() == MANIFEST_SUFFIX:
        return [
            FileRecording(row.audio, _file_name(row.id), row.id, row.start, row.duration, _raw_of(row.audio, raw))
            for row in read_manifest(path)
        ]
    if path.suffix.lower() in TABLE_SUFFIXES and path.is_file():
        made = path.with_suffix(MANIFEST_SUFFIX).name
        raise AudioError(f"{argument}: a table, no audio; `asr data import {argument} --out {made}`, then give {made}")
    if not path.exists() and not path.is_symlink() and _is_pattern(argument):
        base = _fixed_part(path)
        try:
            files = sorted(file for file in base.glob(str(path.relative_to(base))) if not file.is_dir())
        except ValueError as error:
            raise AudioError(f"{argument}: is no pattern ({error})") from error
        if not files:
            raise AudioError(f"{argument}: no file matches")
        return [FileRecording(file, file.relative_to(base), raw=_raw_of(file, raw)) for file in files]
    return [FileRecording(path, Path(path.name), raw=_raw_of(path, raw))]


def _raw_of(path: Path, raw: RawFormat | None) -> RawFormat | None:
    """Files that name a format of their own are not raw."""
    return None if path.suffix.lower() in AUDIO_SUFFIXES else raw


def _audio_below(folder: Path, suffixes: frozenset[str], problems: list[str]) -> Iterator[Path]:
    """Files with these suffixes in a folder and those below it, but for hidden ones.

    Links are followed, be it to nothing, and a folder is not looked into once more below itself.
    """

    def below(folder: Path, above: frozenset[str]) -> Iterator[Path]:
        real = os.path.realpath(folder)
        if real in above:
            return
        try:
            with os.scandir(folder) as entries:
                found = [folder / entry.name for entry in entries if not entry.name.startswith(".")]
        except OSError as error:
            problems.append(f"{folder}: cannot be searched ({error.strerror})")
            return
        for path in found:
            if path.is_dir():
                yield from below(path, above | {real})
            elif path.suffix.lower() in suffixes and (path.is_file() or path.is_symlink()):
                yield path

    return below(folder, frozenset())


def _file_name(id: str) -> Path:
    """A name for files, different for every id, that leads nowhere else: what is special to a path becomes %XX."""
    name = "".join(
        quote(char, safe="", errors="surrogatepass") if char in UNSAFE_IN_NAMES or not char.isprintable() else char
        for char in id
    )
    return Path(name if not name.startswith(".") else f"%2E{name[1:]}")


def _fixed_part(pattern: Path) -> Path:
    """The folder above the first part of a pattern that holds a wildcard."""
    fixed = Path(pattern.anchor)
    for part in pattern.parts[len(fixed.parts) :]:
        if _is_pattern(part):
            break
        fixed /= part
    return fixed


def _is_pattern(text: str) -> bool:
    return any(character in text for character in "*?[")
