"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from asr.bundle.decode import SearchRequest
    from asr.transcribe.subtitles import SubtitleRules

Device = Annotated[str, typer.Option(help="Where the model runs: auto (CUDA if there is one), cpu, cuda or cuda:N.")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; by default as many as there are cores.")]
Dtype = Annotated[
    str,
    typer.Option(
        help="auto: pretrained models run in the fastest types, bfloat16 or int8, and a text in twenty may then "
        "depend on batch and machine; others in float32, in which none does. float32, bfloat16, int8."
    ),
]
Adapter = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="What LoRA learnt on top of the model: EXP/adapter of a run with `lora`."),
]
Search = Annotated[
    str | None,
    typer.Option(
        help="Another search than the model's own: ctc_greedy, ctc_prefix_beam, attention_greedy, attention_beam, "
        "joint_beam, attention_rescoring."
    ),
]
Lm = Annotated[
    str | None,
    typer.Option(
        metavar="LM",
        help="Language model: an .arpa[.gz] file or the folder of a neural one; 'none' does without the tuned one.",
    ),
]
LmMode = Annotated[
    str | None, typer.Option(help="How it is used: fusion (in the search) or rescore (of the n-best list).")
]
Hotwords = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Words and phrases to expect, one a line: WORD or WORD:boost; behind a digit with a point, GATE 3:4.0.",
    ),
]
HotwordList = Annotated[
    list[str] | None,
    typer.Option("--hotword", metavar="WORD[:BOOST]", help="One such word or phrase; may be given several times."),
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting; may be given several times.")
]
Tensorboard = Annotated[
    bool,
    typer.Option(
        "--tensorboard", help="Write the log as event files, too, into OUT/training/tensorboard; --resume keeps it up."
    ),
]
Confidence = Annotated[
    str, typer.Option(help="Measure of confidence: posterior (of each token) or entropy (of all tokens).")
]
Exact = Annotated[
    bool,
    typer.Option(
        "--exact",
        help="Whisper: the encoder always hears 30 s, as in training, not just the speech; two to four times slower.",
    ),
]
Language = Annotated[
    str | None,
    typer.Option(
        metavar="CODE|auto",
        help="Spoken language: en, de, ...; auto finds it on the first speech of each recording, the default where the "
        "model knows several.",
    ),
]
EachLanguage = Annotated[
    bool, typer.Option("--each-language", help="With --language auto: find the language of every stretch of speech.")
]
Task = Annotated[
    str | None,
    typer.Option(metavar="transcribe|translate", help="Whisper: write what is said, or what it means in English."),
]
Prompt = Annotated[
    str | None,
    typer.Option(metavar="TEXT", help="What was said before: names and spellings that a decoder goes on with."),
]
MaxLineLength = Annotated[int, typer.Option(min=10, help="srt, vtt: longest line, in columns.")]
MaxLines = Annotated[int, typer.Option(min=1, help="srt, vtt: lines of a subtitle at most.")]
MaxCueSeconds = Annotated[float, typer.Option(min=1.0, help="srt, vtt: how long a subtitle stays at most.")]
CuePause = Annotated[
    float,
    typer.Option(
        min=0.0, metavar="SECONDS", help="srt, vtt: a silence this long is inside no subtitle; 0 shows each word alone."
    ),
]


def use_threads(threads: int | None) -> None:
    """Tell torch how many CPU threads to use."""
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


def search_request(
    search: str | None,
    overrides: Sequence[str] | None,
    lm: str | None,
    lm_mode: str | None,
    hotwords: Path | None,
    hotword: Sequence[str] | None,
) -> SearchRequest:
    """What the options above ask for."""
    from asr.bundle.decode import SearchRequest
    from asr.decoding.hotwords import parse_hotword, read_hotwords

    words = [*(read_hotwords(hotwords) if hotwords is not None else []), *map(parse_hotword, hotword or ())]
    return SearchRequest(search, tuple(overrides or ()), lm, lm_mode, tuple(words))


def choose_formats(text: str, output_dir: Path | None) -> list[str]:
    """The formats of a list with commas; a mistake of usage if one is unknown or several go to standard output."""
    from asr.registry import did_you_mean
    from asr.transcribe.writers import WRITERS

    names = list(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        if name not in WRITERS:
            raise typer.BadParameter(f"unknown format '{name}'{did_you_mean(name, WRITERS)}")
    if len(names) > 1 and output_dir is None:
        raise typer.BadParameter("several formats cannot share standard output; add --output-dir DIR")
    return names


def subtitle_rules(max_line_length: int, max_lines: int, max_cue_seconds: float, cue_pause: float) -> SubtitleRules:
    """What the options above ask for."""
    from asr.transcribe.subtitles import SubtitleRules

    return SubtitleRules(
        max_line_length=max_line_length,
        max_lines=max_lines,
        max_duration=max_cue_seconds,
        pause_seconds=cue_pause,
    )
