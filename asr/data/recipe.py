"""What every recipes/<corpus>/prepare.py shares: where the corpus is, the manifests, the counts, one-line errors."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from asr.audio.io import audio_info
from asr.data.download import download, extract
from asr.data.manifest import write_manifest
from asr.errors import AsrError
from asr.types import Utterance

Splits = Mapping[str, Sequence[Utterance]]


@dataclass(frozen=True)
class Source:
    """A public corpus: how to recognise a copy of it on disk and where to fetch it."""

    name: str
    marker: str  # a path every copy holds, relative to the corpus folder
    url: str
    folder: str  # the corpus folder inside the archive, "." if it has none of its own
    sha256: str | None  # of the archive; None where nobody publishes one

    def locate(self, folder: Path, fetch: bool = False) -> Path:
        """The corpus folder: `folder` or the one inside it; with `fetch`, downloaded and unpacked into it if absent.

        Raises AsrError if there is no copy, DownloadError if fetching fails; an interrupted download goes on later.
        """
        for candidate in (folder, folder / self.folder):
            if (candidate / self.marker).exists():
                return candidate
        if not fetch:
            raise AsrError(
                f"{folder}: no {self.name} corpus here, expected {self.marker} inside; "
                f"unpack {self.url} or add --download"
            )
        archive = folder / self.url.rsplit("/", 1)[-1]
        download(self.url, archive, sha256=self.sha256, progress=_show_progress)
        extract(archive, folder)
        return self.locate(folder)


def read_lines(path: Path) -> list[str]:
    """The lines of a text file of a corpus that are not blank; AsrError if it cannot be read."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise AsrError(f"{path}: {reason}; the corpus is not complete, fetch it again") from error
    return [line.strip() for line in lines if line.strip()]


def audio_utterance(id: str, audio: Path, text: str, speaker: str, lang: str = "en") -> Utterance:
    """An utterance that fills its audio file, whose header gives the duration; AudioError if that is unreadable."""
    return Utterance(id=id, audio=audio, duration=audio_info(audio).duration, text=text, speaker=speaker, lang=lang)


def read_table(path: Path) -> dict[str, str]:
    """Lines of a key, white space and the rest, as in Kaldi's text or wav.scp, in their order.

    AsrError if the file cannot be read, a line has a key alone or a key comes twice.
    """
    table: dict[str, str] = {}
    for number, line in enumerate(read_lines(path), start=1):
        key, *rest = line.split(maxsplit=1)
        if not rest or key in table:
            problem = f"'{key}' comes twice" if rest else f"expected a key and a value, found {line!r}"
            raise AsrError(f"{path}:{number}: {problem}; fetch the corpus again")
        table[key] = rest[0].strip()
    return table


def write_splits(out: Path, splits: Splits) -> None:
    """Write `out`/<split>.jsonl for every split and print what each holds."""
    for name, utterances in splits.items():
        path = out / f"{name}.jsonl"
        write_manifest(path, utterances)
        hours = sum(utterance.duration for utterance in utterances) / 3600
        speakers = len({utterance.speaker for utterance in utterances})
        print(f"{path}: {len(utterances)} utterances, {hours:.2f} h, speakers: {speakers}")


def run_recipe(prepare: Callable[[Path, Path], None], source: Source, description: str) -> int:
    """Command line of a recipe for an existing corpus: prepare(corpus, out). Returns the exit status."""
    parser = argparse.ArgumentParser(description=description)
    check = "checked by its SHA-256" if source.sha256 else "no checksum is published, so its contents are counted"
    parser.add_argument("--corpus", type=Path, required=True, help="folder of the corpus, or where to download it to")
    parser.add_argument("--out", type=Path, required=True, help="folder for the manifests, such as data/<corpus>")
    parser.add_argument("--download", action="store_true", help=f"fetch {source.url} if absent; resumable, {check}")
    arguments = parser.parse_args()
    return exit_status(lambda: prepare(source.locate(arguments.corpus, fetch=arguments.download), arguments.out))


def _show_progress(here: int, total: int | None) -> None:
    of_total = f" of {total / 1e6:.1f}" if total else ""
    print(f"\rdownloaded {here / 1e6:.1f}{of_total} MB", end="\n" if here == total else "", file=sys.stderr, flush=True)


def exit_status(run: Callable[[], None]) -> int:
    """Run it; an AsrError becomes one line on stderr and status 1, Ctrl-C status 130."""
    try:
        run()
    except AsrError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; run the same command again", file=sys.stderr)
        return 130
    return 0
