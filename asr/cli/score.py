"""`asr score`: word error rate of hypotheses against references."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asr.cli.inputs import require_files
from asr.cli.outputs import check_outputs

Compare = Annotated[
    Path | None, typer.Option(metavar="HYP2", help="Another system's texts: is B, these, better than A, HYP?")
]
Cer = Annotated[
    bool, typer.Option("--cer", help="Show the character error rate; spaces count, save in Chinese and Japanese.")
]
Normalize = Annotated[
    str, typer.Option(help="Normaliser of both sides: none, upper, basic, english, whisper-english or whisper-basic.")
]
Align = Annotated[
    str, typer.Option(help="levenshtein (every error costs 1, as in jiwer) or sclite (substitutions 4, others 3).")
]
Markup = Annotated[
    bool, typer.Option("--markup", help="Read { a / b / @ } as alternatives, @ being nothing, and (uh) as optional.")
]
Hesitations = Annotated[
    str | None, typer.Option(metavar="WORDS|FILE", help="Drop these words: uh,um or a file with one a line.")
]
SplitHyphens = Annotated[
    bool, typer.Option("--split-hyphens", help="Take words with a hyphen inside as several words.")
]
MergeCompounds = Annotated[
    bool, typer.Option("--merge-compounds", help="Forgive words written apart or together: data base, database.")
]
AllowMissing = Annotated[
    bool, typer.Option("--allow-missing", help="Count a missing hypothesis as deletions, not as a mistake.")
]
Speakers = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Lines 'id speaker'; otherwise speakers are those of jsonl and stm.")
]
SpeakerFromId = Annotated[
    bool, typer.Option("--speaker-from-id", help="The speaker is what stands before the first - or _ of the id.")
]
By = Annotated[
    str | None, typer.Option(metavar="NAMES", help="More tables, with commas between: speaker, length, utterance.")
]
Top = Annotated[int, typer.Option(min=0, help="How many of the most frequent errors of each kind to show.")]
Alignments = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write the alignment of every utterance there; - prints it.")
]
Format = Annotated[
    str | None,
    typer.Option("--format", help="Format of all files: lines, kaldi, tsv, jsonl, trn, ctm or stm. Default: detected."),
]
JsonFile = Annotated[Path | None, typer.Option("--json", help="Write the score to this file, too.")]
HtmlFile = Annotated[
    Path | None,
    typer.Option("--html", metavar="FILE", help="Write a page with all utterances to search, sort and play."),
]
Manifest = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Where the audio of the utterances is, for the page of --html."),
]
Worst = Annotated[
    int,
    typer.Option(
        min=0, help="How many of the worst utterances get a spectrogram on the page, with the times of words."
    ),
]


def score(
    ref: Annotated[Path, typer.Argument(metavar="REF", help="What was said.")],
    hyp: Annotated[Path, typer.Argument(metavar="HYP", help="What was recognised.")],
    compare: Compare = None,
    cer: Cer = False,
    normalize: Normalize = "none",
    align: Align = "levenshtein",
    markup: Markup = False,
    hesitations: Hesitations = None,
    split_hyphens: SplitHyphens = False,
    merge_compounds: MergeCompounds = False,
    allow_missing: AllowMissing = False,
    speakers: Speakers = None,
    speaker_from_id: SpeakerFromId = False,
    by: By = None,
    top: Top = 0,
    alignments: Alignments = None,
    format_name: Format = None,
    json_file: JsonFile = None,
    html_file: HtmlFile = None,
    manifest: Manifest = None,
    worst: Worst = 20,
) -> None:
    """Word error rate with its 95 % bootstrap interval.

    Utterances are matched by id; in plain lines the id is the line number. White space of any kind parts words, a
    no-break space as well; ids that are paths match by the names of the files. An empty reference counts as an
    utterance: the words recognised there are insertions. Without any reference word there is no rate.
    """
    if manifest is not None and html_file is None:
        raise typer.BadParameter("--manifest is for the page of --html FILE")
    if speakers is not None and speaker_from_id:
        raise typer.BadParameter("give --speakers or --speaker-from-id, not both")
    require_files(ref, hyp, compare, speakers, manifest)
    from rich.console import Console

    from asr.data.manifest import read_manifest
    from asr.scoring.hints import normalizer_hint
    from asr.scoring.html.report import write_files_html
    from asr.scoring.report import print_results, write_alignments
    from asr.scoring.results import gather, score_files, write_json
    from asr.scoring.rules import Rules, read_hesitations
    from asr.scoring.speakers import speaker_lookup
    from asr.scoring.texts import open_texts

    written = None if alignments == Path("-") else alignments
    check_outputs((json_file, html_file, written), (ref, hyp, compare, speakers, hesitations, manifest))
    dropped = read_hesitations(hesitations, normalize) if hesitations is not None else ()
    rules = Rules(normalize, align, markup, dropped, split_hyphens, merge_compounds)
    reference, *systems = open_texts(ref, *filter(None, (hyp, compare)), format_name=format_name)
    speaker_of = speaker_lookup(speakers, speaker_from_id)
    scores = [score_files(reference, file, rules, allow_missing, speaker_of) for file in systems]
    results = gather(*scores, tables=by.split(",") if by else (), top=top)
    if json_file is not None:
        write_json(results, json_file)
    if html_file is not None:
        utterances = read_manifest(manifest) if manifest is not None else ()
        for problem in write_files_html(results, html_file, (reference, *systems), utterances, worst):
            typer.echo(f"{html_file}: {problem}", err=True)
    console = Console(soft_wrap=True, markup=False, emoji=False, highlight=False)
    if alignments is not None:
        write_alignments(scores[0], alignments, console)
    print_results(results, console, cer=cer)
    formats = zip(("REF", "HYP", "HYP2"), (reference, *systems), strict=False)
    console.print("read as " + ", ".join(f"{file.format} ({name})" for name, file in formats))
    for name, one in zip(("HYP", "HYP2"), scores, strict=False):
        if hint := normalizer_hint(one):
            typer.echo(f"warning: {name}: {hint}", err=True)
