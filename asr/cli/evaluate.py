"""asr evaluate"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from asr.cli.inputs import check_overrides, require_files, require_lm, require_model
from asr.cli.options import (
    Adapter,
    Confidence,
    Device,
    Dtype,
    Exact,
    HotwordList,
    Hotwords,
    Language,
    Lm,
    LmMode,
    Overrides,
    Prompt,
    Search,
    Task,
    Threads,
    search_request,
    use_threads,
)
from asr.cli.outputs import check_outputs

FILES = ("hypotheses.jsonl", "wer.json", "reliability.png", "report.html")


def evaluate(
    experiment: Annotated[Path, typer.Argument(help="Model folder, or a name.", metavar="EXP")],
    manifest: Annotated[Path, typer.Argument(help="What to transcribe, with reference texts.", metavar="MANIFEST")],
    out: Annotated[
        Path | None,
        typer.Option(help="Results folder; otherwise EXP/results/SET, or SET.SEARCH[.LM] if not the model's own way."),
    ] = None,
    search: Search = None,
    lm: Lm = None,
    lm_mode: LmMode = None,
    hotwords: Hotwords = None,
    hotword: HotwordList = None,
    nbest: Annotated[int, typer.Option(min=1, help="Hypotheses of each utterance in hypotheses.jsonl.")] = 1,
    overrides: Overrides = None,
    language: Language = None,
    task: Task = None,
    prompt: Prompt = None,
    exact: Exact = False,
    device: Device = "auto",
    threads: Threads = None,
    dtype: Dtype = "auto",
    adapter: Adapter = None,
    normalize: Annotated[
        str | None,
        typer.Option(
            help="Another normaliser than the model's: none, upper, basic, english, whisper-english, whisper-basic."
        ),
    ] = None,
    confidence: Confidence = "posterior",
    worst: Annotated[
        int, typer.Option(min=0, help="How many of the worst utterances get a spectrogram in report.html.")
    ] = 20,
    batch_seconds: Annotated[
        float | None, typer.Option(min=0.1, help="Longest utterance times batch size; as in training otherwise.")
    ] = None,
    stream: Annotated[
        bool, typer.Option("--stream", help="Also as it is spoken: latencies, in EXP/results/SET.stream-CHUNK.")
    ] = False,
    chunk: Annotated[float, typer.Option(min=0.01, max=10.0, help="Seconds between two looks, with --stream.")] = 0.32,
    parallel: Annotated[
        str, typer.Option(metavar="N[,N...]", help="Streams at once, with --stream; several make a curve.")
    ] = "1",
) -> None:
    """Measure the word error rate of a model; writes hypotheses.jsonl, wer.json, reliability.png, report.html.

    With --stream also stream.json and latency.png; `--set streaming.KEY=VALUE` changes how speech is followed.
    """
    experiment = require_model(experiment)
    require_files(manifest, hotwords, adapter)
    require_lm(lm)
    check_overrides(overrides, "search", *(["streaming"] if stream else []))
    streaming = [override for override in overrides or () if override.startswith("streaming.")]
    overrides = [override for override in overrides or () if override not in streaming]
    counts = stream_counts(parallel)
    from asr.bundle.adapter import load_adapted
    from asr.bundle.decode import choose_decoding
    from asr.bundle.prompting import Wish
    from asr.bundle.training_texts import TrainingTexts
    from asr.evaluate.evaluator import evaluate as run
    from asr.evaluate.report import silence, table, without_text
    from asr.evaluate.streaming import run_stream
    from asr.experiments.card import write_card
    from asr.experiments.results import replaced_results, results_folder
    from asr.experiments.summary import trained_steps
    from asr.scoring.coverage import unwritable
    from asr.system.display import Display, counted
    from asr.system.outputs import check_folder
    from asr.system.runtime import resolve_device, resolve_dtype
    from asr.transcribe.streaming.settings import streaming_config

    read = (manifest, lm, hotwords)
    if out is None:
        check_folder((adapter or experiment) / "results")
    else:
        check_outputs((out / name for name in FILES), read, experiment)
    use_threads(threads)
    display = Display()
    bundle = load_adapted(experiment, adapter, dtype=dtype if resolve_device(device).type == "cpu" else "float32")
    request = search_request(search, overrides, lm, lm_mode, hotwords, hotword)
    decoding = replace(choose_decoding(bundle, experiment, request), wish=Wish(language, task, prompt), exact=exact)
    folder = out or results_folder(
        adapter or experiment, manifest, decoding, choose_decoding(bundle, experiment), normalize
    )
    check_outputs((folder / name for name in FILES), read, experiment)
    note = replaced_results(folder, decoding)
    live = streaming_config(chunk, streaming) if stream else None
    result = run(
        bundle,
        manifest,
        decoding,
        num_best=nbest,
        training_texts=TrainingTexts.load(experiment),
        device=resolve_device(device),
        dtype=resolve_dtype(dtype),
        max_batch_seconds=batch_seconds,
        confidence=confidence,
        num_worst=worst,
        normalizer=normalize,
        on_progress=lambda done, total: display.update(f"{done} of {total} utterances"),
    )
    for problem in result.save(folder, experiment):
        display.say(f"{folder / 'report.html'}: {problem}")
    if note is not None:
        display.say(f"warning: {note}")
    if out is None and adapter is None:
        write_card(experiment)
    display.say(
        f"{counted(len(result.utterances), 'utterance')} in {counted(result.num_batches, 'batch', 'batches')} "
        f"took {result.seconds:.1f} s (RTF {result.rtf or 0:.3f}); details in {folder}"
    )
    typer.echo(table(result))
    if live is not None:
        spoken = run_stream(
            bundle,
            result,
            decoding,
            live,
            device=resolve_device(device),
            dtype=resolve_dtype(dtype),
            normalizer=normalize,
            parallel=counts,
            on_progress=lambda done, total: display.update(f"{done} of {total} utterances"),
        )
        place = folder.with_name(f"{folder.name}.stream-{live.chunk:g}")
        if not spoken.save(place):
            display.say("latency.png needs matplotlib, which is not installed")
        display.say(f"streams: details in {place}")
        typer.echo(spoken.table())
    silent = silence(result, trained_steps(experiment))
    warnings = silent, without_text(result), unwritable(result.score.references, bundle.tokenizer)
    for warning in filter(None, warnings):
        display.say(f"warning: {warning}")


def stream_counts(text: str) -> tuple[int, ...]:
    """Numbers of streams at once; a mistake of usage for anything else than numbers from 1 on."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and 1 <= int(part) <= 1024 for part in parts):
        raise typer.BadParameter(f"--parallel {text}: numbers from 1 to 1024 with commas between them, such as 1,4,16")
    return tuple(map(int, parts))
