"""What every recipes/<corpus>/prepare.py shares: where the corpus is, the manifests, the counts, one-line errors."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from asr.audio.io import audio_info
from asr.data.download import download, extract
from asr.data.manifest import write_manifest
from asr.errors import AsrError
from asr.system.display import counted
from asr.system.runtime import derive_rng
from asr.system.text_files import read_text
from asr.types import Utterance

Splits = Mapping[str, Sequence[Utterance]]


@dataclass(frozen=True)
class Source:
    """A public corpus, or one archive of it: how to recognise a copy of it on disk and where to fetch it."""

    name: str
    marker: str  # a path every copy holds, relative to the corpus folder
    url: str  # of the archive; of the page that asks for consent where it is not `free`
    folder: str  # the corpus folder inside the archive, "." if it has none of its own
    sha256: str | None = None  # of the archive; None where nobody publishes one
    md5: str | None = None
    free: bool = True  # to be fetched without a form to fill in

    @property
    def check(self) -> str:
        """How a download of it is checked, in words."""
        kind = "SHA-256" if self.sha256 else "MD5 sum" if self.md5 else None
        return f"checked by its {kind}" if kind else "no checksum is published, so its contents are counted"

    def locate(self, folder: Path, fetch: bool = False) -> Path:
        """The corpus folder: `folder` or the one inside it; with `fetch`, downloaded and unpacked into it if absent.

        Raises AsrError if there is no copy, DownloadError if fetching fails; an interrupted download goes on later.
        """
        for candidate in (folder, folder / self.folder):
            if (candidate / self.marker).exists():
                return candidate
        if not fetch:
            remedy = f"unpack {self.url} or add --download" if self.free else f"get it from {self.url} and unpack it"
            raise AsrError(f"{folder}: no {self.name} corpus here, expected {self.marker} inside; {remedy}")
        archive = folder / self.url.rsplit("/", 1)[-1]
        download(self.url, archive, sha256=self.sha256, md5=self.md5, progress=_show_progress)
        extract(archive, folder)
        return self.locate(folder)


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbers, from 1, and contents of the lines of a corpus's text file that are not blank; AsrError if unreadable."""
    try:
        lines = read_text(path).split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise AsrError(f"{path}: {reason}; the corpus is not complete, fetch it again") from error
    return ((number, line.strip("\r")) for number, line in enumerate(lines, start=1) if line.strip())


def read_table(path: Path) -> dict[str, str]:
    """Lines of a key, white space and a value, as in Kaldi's text or LibriSpeech's .trans.txt, in their order.

    AsrError if the file cannot be read, a line holds a key alone or a key comes twice.
    """
    table: dict[str, str] = {}
    for number, line in read_lines(path):
        key, *rest = line.split(maxsplit=1)
        if not rest or key in table:
            problem = f"'{key}' comes twice" if rest else f"expected a key and a value, found {line!r}"
            raise AsrError(f"{path}:{number}: {problem}; fetch the corpus again")
        table[key] = rest[0].strip()
    return table


def read_librispeech(corpus: Path, name: str) -> list[Utterance]:
    """One set in LibriSpeech's layout, SET/SPEAKER/CHAPTER/{SPEAKER-CHAPTER.trans.txt,ID.flac}, ordered by name."""
    utterances = []
    for path in sorted((corpus / name).glob("*/*/*.trans.txt")):
        speaker = path.parent.parent.name
        for id, text in read_table(path).items():
            utterances.append(audio_utterance(id, path.with_name(f"{id}.flac"), text, speaker))
    return utterances


def audio_utterance(id: str, audio: Path, text: str, speaker: str, lang: str = "en") -> Utterance:
    """An utterance that fills its audio file, whose header gives the duration; AudioError if that is unreadable."""
    return Utterance(id=id, audio=audio, duration=audio_info(audio).duration, text=text, speaker=speaker, lang=lang)


def pick_speakers(order: Sequence[str], count: int, *seed: object) -> set[str]:
    """`count` speakers at equal distances in an order, from a start drawn once with the seed.

    In an order by gender and age, say, each group gives its share. AsrError if there are too few.
    """
    if len(order) < count:
        raise AsrError(f"the corpus has {len(order)} training speakers, too few to keep {count}; fetch it again")
    step = len(order) / count
    start = derive_rng(*seed).uniform(0, step)
    return {order[int(start + step * number)] for number in range(count)}


def write_splits(out: Path, splits: Splits) -> None:
    """Write `out`/<split>.jsonl for every split and print what each holds."""
    for name, utterances in splits.items():
        path = out / f"{name}.jsonl"
        write_manifest(path, utterances)
        hours = sum(utterance.duration for utterance in utterances) / 3600
        speakers = len({utterance.speaker for utterance in utterances})
        print(f"{path}: {counted(len(utterances), 'utterance')}, {hours:.2f} h, speakers: {speakers}")


def run_recipe(prepare: Callable[[Path, Path], None], source: Source, description: str) -> int:
    """Command line of a recipe for an existing corpus: prepare(corpus, out). Returns the exit status."""
    parser = _parser(description, source)
    arguments = parser.parse_args()
    return exit_status(lambda: prepare(source.locate(arguments.corpus, fetch=arguments.download), arguments.out))


def run_recipe_of_parts(
    prepare: Callable[[Mapping[str, Path], Path], None], parts: Mapping[str, Source], description: str
) -> int:
    """As `run_recipe` for a corpus in several archives: prepare(corpus folder of each part that --parts names, out)."""
    parser = _parser(description, *parts.values())
    which = f"which to prepare, of {', '.join(parts)}; default: all"
    parser.add_argument("--parts", nargs="+", metavar="PART", choices=parts, default=list(parts), help=which)
    arguments = parser.parse_args()

    def run() -> None:
        prepare(
            {name: parts[name].locate(arguments.corpus, fetch=arguments.download) for name in arguments.parts},
            arguments.out,
        )

    return exit_status(run)


def _parser(description: str, *sources: Source) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    free = all(source.free for source in sources)
    where = "folder of the corpus" + (", or where to download it to" if free else f", from {sources[0].url}")
    parser.add_argument("--corpus", type=Path, required=True, help=where)
    parser.add_argument("--out", type=Path, required=True, help="folder for the manifests, such as data/<corpus>")
    if free:
        url = sources[0].url if len(sources) == 1 else sources[0].url.rsplit("/", 1)[0]
        what = f"fetch what is absent from {url}; resumable, {sources[0].check}"
        parser.add_argument("--download", action="store_true", help=what)
    else:
        parser.set_defaults(download=False)
    return parser


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
