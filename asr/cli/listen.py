"""asr listen"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from asr.bundle.catalogue import DEFAULT_MODEL
from asr.cli.audio_options import Raw, Vad, parse_raw_option
from asr.cli.inputs import check_overrides, require_files, require_lm, require_model
from asr.cli.options import (
    Device,
    Dtype,
    HotwordList,
    Hotwords,
    Language,
    Lm,
    LmMode,
    Overrides,
    Search,
    Threads,
    search_request,
    use_threads,
)


def listen(
    model: Annotated[Path, typer.Option(help="Model folder, or a name that `asr models list` shows.")] = Path(
        DEFAULT_MODEL
    ),
    simulate: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Play a recording at its own speed instead of a microphone.")
    ] = None,
    speed: Annotated[float, typer.Option(min=0.1, help="Play it so many times as fast.")] = 1.0,
    raw: Raw = None,
    source: Annotated[
        str | None, typer.Option("--input", metavar="N|NAME", help="Another microphone than the system's own choice.")
    ] = None,
    list_inputs: Annotated[bool, typer.Option("--list-inputs", help="List the microphones and stop.")] = False,
    format_: Annotated[str, typer.Option("--format", help="text, or jsonl: one object for each event.")] = "text",
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Also keep a file up to date: .srt, .vtt, .json, .txt, .tsv, .ctm, .TextGrid."
        ),
    ] = None,
    chunk: Annotated[
        float, typer.Option(min=0.01, max=10.0, help="Seconds between two looks of a model that streams.")
    ] = 0.32,
    vad: Vad = None,
    search: Search = None,
    lm: Lm = None,
    lm_mode: LmMode = None,
    hotwords: Hotwords = None,
    hotword: HotwordList = None,
    overrides: Overrides = None,
    language: Language = None,
    device: Device = "auto",
    dtype: Dtype = "float32",
    threads: Threads = None,
) -> None:
    """Recognise speech while it is spoken: a microphone, a file played at its own speed, or raw samples from a pipe.

    With --raw, samples come from standard input. On a terminal words that may still change are grey. A model that
    streams follows with its states, any other by LocalAgreement. Ctrl-C ends the audio. `--set streaming.KEY=VALUE`
    changes when an utterance ends and what is shown.
    """
    if format_ not in ("text", "jsonl"):
        raise typer.BadParameter(f"--format {format_}: text or jsonl")
    if simulate is not None and raw is not None:
        raise typer.BadParameter("--simulate plays a file and --raw reads standard input; leave one of them out")
    if source is not None and (simulate is not None or raw is not None):
        raise typer.BadParameter("--input names a microphone, but the audio comes from elsewhere; leave it out")
    from asr.audio import live

    if list_inputs:
        lines = live.list_inputs()
        typer.echo("\n".join(lines) if lines else "no microphone was found")
        return
    require_files(simulate, hotwords)
    require_lm(lm)
    check_overrides(overrides, "search", "segmentation", "streaming")
    folder = require_model(model)
    raw_format = parse_raw_option(raw)
    from asr.system.display import Display
    from asr.system.outputs import check_outputs
    from asr.transcribe.recognizer import LIVE_OPTIONS, Recognizer
    from asr.transcribe.segmentation import segmentation_config, split_overrides
    from asr.transcribe.streaming.listen import FileView, JsonlView, Show, TextView
    from asr.transcribe.streaming.listen import listen as follow
    from asr.transcribe.streaming.settings import streaming_config

    shows: list[Show] = [JsonlView() if format_ == "jsonl" else TextView()]
    if output is not None:
        check_outputs([output], [simulate, hotwords, lm])
        shows.append(FileView(output, str(simulate or ("-" if raw else "microphone")), str(model)))
    config = streaming_config(chunk, [one for one in overrides or () if one.startswith("streaming.")])
    others = [one for one in overrides or () if not one.startswith("streaming.")]
    of_segmentation, of_search = split_overrides(others)
    microphone = live.Microphone(source) if simulate is None and raw_format is None else None
    use_threads(threads)
    recognizer = Recognizer.load(
        folder,
        device,
        dtype,
        search_request(search, of_search, lm, lm_mode, hotwords, hotword),
        segmentation=segmentation_config(vad, None, of_segmentation),
    )
    options = replace(LIVE_OPTIONS, language=language)
    if microphone is not None:
        rate, blocks = microphone.sample_rate, iter(microphone)
        Display().say(f"listening to '{microphone.name}'; Ctrl-C ends it")
    elif raw_format is not None:
        rate, blocks = raw_format.sample_rate, live.read_pipe(sys.stdin.buffer, raw_format)
    else:
        assert simulate is not None
        rate, blocks = recognizer.sample_rate, live.play(simulate, recognizer.sample_rate, speed=speed)
    if follow(recognizer.open_stream(rate, options, config), blocks, shows):
        raise typer.Exit(130)
