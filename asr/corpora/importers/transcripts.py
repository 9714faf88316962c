"""Folders of audio with lists of texts: LibriSpeech's *.trans.txt, and Kaldi's `text` without a wav.scp."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from asr.audio.io import AUDIO_SUFFIXES
from asr.corpora.importers.base import Fault, ImportOptions, Row, is_hidden, read_text, register
from asr.errors import ManifestError

PATTERNS = ("*.trans.txt", "text")


@register
class TranscriptsImporter:
    """A line is an id, white space and a text; its audio is the file of that name, best in the folder of the list."""

    name = "transcripts"
    summary = "a folder of audio with lists of lines 'id words': LibriSpeech's *.trans.txt, or Kaldi's text"
    takes_columns = False

    def fits(self, source: Path) -> bool:
        """A folder with such a list, there or further inside, and no wav.scp beside it."""
        return source.is_dir() and not (source / "wav.scp").is_file() and any(_lists(source))

    def root(self, source: Path) -> Path:
        """The folder itself."""
        return source

    def read(self, source: Path, options: ImportOptions, root: Path) -> Iterator[Row | Fault]:
        """Rows in the order of paths and lines; lines without audio and audio without a line are faults."""
        by_stem: defaultdict[str, list[Path]] = defaultdict(list)
        for path in sorted(root.rglob("*")):
            if path.suffix.lower() in AUDIO_SUFFIXES and not is_hidden(path, root) and path.is_file():
                by_stem[path.stem].append(path)
        used: set[Path] = set()
        for listed in sorted(_lists(source)):
            try:
                lines = read_text(listed).split("\n")
                speakers = _speakers(listed)
            except ManifestError as error:
                yield Fault(str(listed), str(error))
                continue
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    made = _row(f"{listed}:{number}", line, listed, by_stem, speakers)
                    used.update([made.audio] if isinstance(made, Row) else by_stem.get(made.id or "", ()))
                    yield made
        for paths in by_stem.values():
            for path in paths:
                if path not in used:
                    yield Fault(str(path), "no list has a line for it")


def _lists(source: Path) -> Iterator[Path]:
    for pattern in PATTERNS:
        yield from (path for path in source.rglob(pattern) if path.is_file() and not is_hidden(path, source))


def _row(
    where: str, line: str, listed: Path, by_stem: Mapping[str, Sequence[Path]], speakers: Mapping[str, str]
) -> Row | Fault:
    id, *words = line.split(maxsplit=1)
    found = by_stem.get(id, ())
    nearest = [path for path in found if path.parent == listed.parent] or found
    if len(nearest) != 1:
        several = f"several files have its name: {', '.join(map(str, nearest))}" if nearest else "no audio has its name"
        return Fault(where, several, id)
    return Row(where, nearest[0], id, text="".join(words).strip(), speaker=speakers.get(id) or _speaker_of(listed))


def _speaker_of(listed: Path) -> str | None:
    """In LibriSpeech, SPEAKER/CHAPTER/SPEAKER-CHAPTER.trans.txt."""
    chapter, speaker = listed.parent, listed.parent.parent.name
    return speaker if listed.name == f"{speaker}-{chapter.name}.trans.txt" else None


def _speakers(listed: Path) -> dict[str, str]:
    """Of utt2spk beside Kaldi's text; a line of more or fewer than two words says nothing."""
    path = listed.with_name("utt2spk")
    if listed.name != "text" or not path.is_file():
        return {}
    fields = (line.split() for line in read_text(path).split("\n"))
    return {pair[0]: pair[1] for pair in fields if len(pair) == 2 and pair[0] != pair[1]}
