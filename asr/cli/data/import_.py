"""asr data import"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asr.cli.outputs import check_outputs

if TYPE_CHECKING:
    from asr.corpora.importers import Imported

LHOTSE = "lhotse:"


def import_(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="File or folder; or lhotse:CORPUS, before DIR.")],
    out: Annotated[Path, typer.Option(help="Manifest to write; with lhotse:CORPUS the folder for one of each split.")],
    folder: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="With lhotse:CORPUS, the folder of that corpus.")
    ] = None,
    format_name: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="hf_folder, kaldi, lhotse, nemo, table, text_folder or transcripts. Default: found out by looking.",
        ),
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where relative audio paths start. Default: the working directory for kaldi and lhotse, else the "
            "folder of the source, or the clips beside it.",
        ),
    ] = None,
    audio_column: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Column of a table: audio file; 1, 2 ... where columns have no names."),
    ] = None,
    text_column: Annotated[str | None, typer.Option(metavar="NAME", help="Column: what was said.")] = None,
    id_column: Annotated[str | None, typer.Option(metavar="NAME", help="Column: id; else the file's name.")] = None,
    speaker_column: Annotated[str | None, typer.Option(metavar="NAME", help="Column: speaker.")] = None,
    lang_column: Annotated[str | None, typer.Option(metavar="NAME", help="Column: language.")] = None,
    start_column: Annotated[
        str | None, typer.Option(metavar="NAME", help="Column: start in the file, s; or none.")
    ] = None,
    duration_column: Annotated[str | None, typer.Option(metavar="NAME", help="Column: duration, s.")] = None,
    end_column: Annotated[str | None, typer.Option(metavar="NAME", help="Column: end in the file, s.")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="With lhotse:CORPUS, an argument of lhotse's function."),
    ] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Exit status 0 also when rows had to be left out.")
    ] = False,
) -> None:
    """Make a manifest of a corpus in another format.

    hf_folder is a folder with metadata.csv or metadata.jsonl, whose column file_name names the audio (Hugging Face).

    kaldi is a folder with wav.scp and text, and segments, utt2spk and utt2lang where needed.

    lhotse is JSON lines of cuts, or of supervisions with their recordings in a file of the same kind.

    nemo is JSON lines with audio_filepath, text, duration and offset.

    table is a file of cells between commas, tabs, semicolons or bars, with column names (audio and text, or Common
    Voice's) or without (LJSpeech's id|text|text).

    text_folder is a folder of audio files, each with its text in a .txt of the same name.

    transcripts is a folder of audio with lists of lines 'id words': LibriSpeech's *.trans.txt, or Kaldi's text.

    Durations come from the audio where the source has none. Rows that cannot be used are left out, named, and written
    to OUT.rejected.jsonl; the exit status is then 1.
    """
    from asr.corpora.importers import import_corpus
    from asr.corpora.importers.base import IMPORTERS, ImportOptions
    from asr.registry import did_you_mean

    if format_name is not None and format_name not in IMPORTERS:
        raise typer.BadParameter(f"unknown format '{format_name}'{did_you_mean(format_name, IMPORTERS)}")
    columns = {
        "audio": audio_column,
        "text": text_column,
        "id": id_column,
        "speaker": speaker_column,
        "lang": lang_column,
        "start": start_column,
        "duration": duration_column,
        "end": end_column,
    }
    chosen = {field: name for field, name in columns.items() if name is not None}
    if not source.startswith(LHOTSE):
        if folder is not None or overrides:
            raise typer.BadParameter("a second argument and --set belong to lhotse:CORPUS alone")
        _check_manifests([out], Path(source))
        _finish({out: import_corpus(Path(source), format_name, ImportOptions(root, chosen))}, skip_bad)
        return
    from asr.corpora.lhotse_corpus import import_lhotse_corpus

    if folder is None or format_name or root or chosen:
        raise typer.BadParameter("lhotse:CORPUS takes the folder of the corpus and --set, no other options")
    splits = import_lhotse_corpus(source.removeprefix(LHOTSE), folder, overrides or ())
    manifests = {out / f"{name}.jsonl": imported for name, imported in splits.items()}
    _check_manifests(manifests, folder)
    _finish(manifests, skip_bad)


def _check_manifests(manifests: Iterable[Path], source: Path) -> None:
    """Refuse to write over a source; in a folder that is one, all may be read but what an earlier import wrote."""
    from asr.corpora.import_report import is_imported, rejected_rows_of
    from asr.system.outputs import check_inside

    written = [path for manifest in manifests for path in (manifest, rejected_rows_of(manifest))]
    check_outputs(written, (source,))
    if source.is_dir():
        check_inside(written, source, mine=filter(is_imported, written))


def _finish(manifests: dict[Path, Imported], skip_bad: bool) -> None:
    """Write manifests and what was left out; fail if anything was, unless the user does not mind."""
    from asr.corpora.import_report import save
    from asr.errors import ManifestError
    from asr.system.display import Display

    display = Display()
    num_faults = sum(save(path, imported, display.say) for path, imported in manifests.items())
    if num_faults and not skip_bad:
        were = "row was" if num_faults == 1 else "rows were"
        raise ManifestError(f"{num_faults} {were} left out, the rest is written; --skip-bad accepts that")
