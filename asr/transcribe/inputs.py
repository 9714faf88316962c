"""What to transcribe and where the results go: files, folders and globs become jobs with output paths."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from asr.audio.io import AUDIO_SUFFIXES
from asr.errors import AsrError, AudioError
from asr.transcribe.writers import SUFFIXES


class OutputClashError(AsrError):
    """Two inputs whose results would be the same file: a mistake of usage."""


@dataclass(frozen=True)
class Recording:
    """An audio file, and its place below the folder or glob that named it."""

    audio: Path
    relative: Path


@dataclass(frozen=True)
class Job:
    """An audio file and the files to make of it, by format; none where the result goes to standard output."""

    audio: Path
    outputs: dict[str, Path]

    @property
    def is_done(self) -> bool:
        """Whether all outputs exist; each appears whole or not at all."""
        return bool(self.outputs) and all(path.exists() for path in self.outputs.values())


def find_recordings(argument: str) -> list[Recording]:
    """The recordings an argument means, sorted: a file, a folder with all audio below it, or a glob (`**` too).

    A path that does not exist is returned as it is, so that reading it says so. Hidden files are left out. Raises
    AudioError for a folder or glob without audio.
    """
    path = Path(argument)
    if path.is_dir():
        found = [Recording(audio, audio.relative_to(path)) for audio in _audio_below(path)]
        if not found:
            raise AudioError(
                f"{argument}: no audio in this folder; known suffixes: {', '.join(sorted(AUDIO_SUFFIXES))}"
            )
        return found
    if not path.exists() and _is_pattern(argument):
        base = _fixed_part(path)
        matches = sorted(match for match in base.glob(str(path.relative_to(base))) if match.is_file())
        if not matches:
            raise AudioError(f"{argument}: no file matches")
        return [Recording(match, match.relative_to(base)) for match in matches]
    return [Recording(path, Path(path.name))]


def find_all(arguments: Iterable[str]) -> tuple[list[Recording], list[str]]:
    """The recordings of several arguments, and what is wrong with the arguments that have none."""
    recordings: list[Recording] = []
    problems: list[str] = []
    for argument in arguments:
        try:
            recordings += find_recordings(argument)
        except AudioError as error:
            problems.append(str(error))
    return recordings, problems


def plan_outputs(recordings: Iterable[Recording], formats: Sequence[str], folder: Path) -> list[Job]:
    """A job for each recording, outputs mirroring the input tree with the suffix replaced.

    A recording named twice is done once. Raises OutputClashError where two recordings would write the same file.
    """
    jobs: dict[Path, Job] = {}
    for recording in recordings:
        stem = folder / recording.relative.with_suffix("")
        known = jobs.get(stem)
        if known is None:
            jobs[stem] = Job(recording.audio, {name: Path(f"{stem}.{SUFFIXES.get(name, name)}") for name in formats})
        elif known.audio.resolve() != recording.audio.resolve():
            raise OutputClashError(
                f"{known.audio} and {recording.audio} would both become {stem}.{formats[0]}; "
                "give the folder above them instead, or transcribe them into different folders"
            )
    return list(jobs.values())


def _audio_below(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file() and not hidden:
            yield path


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
