"""asr evaluate"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from asr.cli.inputs import check_overrides, require_files, require_lm, require_model
from asr.cli.options import (
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
    confidence: Confidence = "posterior",
    worst: Annotated[
        int, typer.Option(min=0, help="How many of the worst utterances get a spectrogram in report.html.")
    ] = 20,
    batch_seconds: Annotated[
        float | None, typer.Option(min=0.1, help="Longest utterance times batch size; as in training otherwise.")
    ] = None,
) -> None:
    """Measure the word error rate of a model; writes hypotheses.jsonl, wer.json, reliability.png, report.html."""
    experiment = require_model(experiment)
    require_files(manifest, hotwords)
    require_lm(lm)
    check_overrides(overrides, "search")
    from asr.bundle.bundle import Bundle
    from asr.bundle.decode import choose_decoding
    from asr.bundle.prompting import Wish
    from asr.bundle.training_texts import TrainingTexts
    from asr.evaluate.evaluator import evaluate as run
    from asr.evaluate.report import silence, table
    from asr.experiments.card import write_card
    from asr.experiments.results import replaced_results, results_folder
    from asr.experiments.summary import trained_steps
    from asr.scoring.coverage import unwritable
    from asr.system.display import Display, counted
    from asr.system.outputs import check_folder
    from asr.system.runtime import resolve_device, resolve_dtype

    read = (manifest, lm, hotwords)
    if out is None:
        check_folder(experiment / "results")
    else:
        check_outputs((out / name for name in FILES), read, experiment)
    use_threads(threads)
    display = Display()
    bundle = Bundle.load(experiment, dtype=dtype if resolve_device(device).type == "cpu" else "float32")
    request = search_request(search, overrides, lm, lm_mode, hotwords, hotword)
    decoding = replace(choose_decoding(bundle, experiment, request), wish=Wish(language, task, prompt), exact=exact)
    folder = out or results_folder(experiment, manifest, decoding, choose_decoding(bundle, experiment))
    check_outputs((folder / name for name in FILES), read, experiment)
    note = replaced_results(folder, decoding)
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
        on_progress=lambda done, total: display.update(f"{done} of {total} utterances"),
    )
    for problem in result.save(folder, experiment):
        display.say(f"{folder / 'report.html'}: {problem}")
    if note is not None:
        display.say(f"warning: {note}")
    if out is None:
        write_card(experiment)
    display.say(
        f"{counted(len(result.utterances), 'utterance')} in {counted(result.num_batches, 'batch', 'batches')} "
        f"took {result.seconds:.1f} s (RTF {result.rtf or 0:.3f}); details in {folder}"
    )
    typer.echo(table(result))
    warnings = silence(result, trained_steps(experiment)), unwritable(result.score.references, bundle.tokenizer)
    for warning in filter(None, warnings):
        display.say(f"warning: {warning}")
