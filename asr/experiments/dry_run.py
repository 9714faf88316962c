"""`asr train --dry-run`: what a run would take, measured on its first batch."""

from __future__ import annotations

import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from asr.experiments.inherit import load_training
from asr.experiments.launch import settle_dtype
from asr.experiments.loss import batch_loss
from asr.experiments.prepare import Prepared, prepare
from asr.experiments.ready import num_parameters, steps_per_epoch


def dry_run(config_file: Path, overrides: Sequence[str] = (), threads: int | None = None) -> dict[str, Any]:
    """What a run would do, measured on its first batch; nothing is trained or written.

    Returns hours, utterances, set-aside rows by reason code, vocabulary size, parameters, steps per epoch, and
    estimates: seconds for the whole run (validation excluded) and peak memory in GB.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    config = settle_dtype(load_training(config_file, overrides), torch.device("cpu"), None, lambda _: None)
    prepared = prepare(config, lambda _: None)
    bundle = prepared.bundle
    parameters = num_parameters(bundle.model)
    rate = _audio_seconds_per_second(prepared)
    state_bytes = 4 * config.optimizer.state_per_weight * parameters
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20 + state_bytes / 2**30
    return {
        "hours": round(prepared.train_hours, 3),
        "utterances": len(prepared.train),
        "set_aside": prepared.rejected.counts,
        "ctc_infeasible": prepared.rejected.counts.get("ctc_infeasible", 0),
        "vocabulary": bundle.tokenizer.vocab_size,
        "parameters": parameters,
        "steps_per_epoch": steps_per_epoch(prepared.train_loader.num_batches(0), bundle.experiment),
        "max_batch_seconds": bundle.experiment.data.batch_seconds,
        "epochs": config.training.epochs,
        "audio_seconds_per_second": round(rate, 1),
        "estimated_seconds": round(prepared.train_hours * 3600 * config.training.epochs / rate),
        "estimated_peak_gb": round(peak, 2),
    }


def _audio_seconds_per_second(prepared: Prepared) -> float:
    """Throughput of forward and backward on the first batch; the first of two passes warms up."""
    config, model = prepared.bundle.experiment, prepared.bundle.model
    batch = next(iter(prepared.train_loader.epoch(0)))
    model.train()
    seconds = 0.0
    for _ in range(2):
        begin = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=config.training.dtype == "bfloat16"):
            output = batch_loss(model, batch, config.loss)
        output.total.backward()
        seconds = time.perf_counter() - begin
    return float(batch.feature_lens.sum()) * prepared.bundle.frontend.frame_seconds / batch.num_views / seconds
