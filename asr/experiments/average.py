"""`asr average`: the mean of several epochs' weights as a new model folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from asr.bundle.bundle import Bundle
from asr.bundle.import_record import pass_on_record
from asr.bundle.training_texts import TrainingTexts
from asr.config import Experiment
from asr.errors import TrainingError
from asr.experiments.asr_task import upgrade_state
from asr.experiments.card import write_card
from asr.nn.lora import add_lora
from asr.training.checkpoint import CheckpointFolder


def average_epochs(
    experiment: Path,
    out: Path,
    *,
    best: int | None = None,
    last: int | None = None,
    dtype: torch.dtype = torch.float32,
) -> list[int]:
    """Average the weights of the best or last K validated epochs into a new model folder; returns the epochs.

    `dtype` is how the network's weights are stored; they are always float32 once loaded.
    """
    bundle = Bundle.load(experiment)
    heads = list(bundle.model.heads)
    checkpoints = CheckpointFolder(experiment / "training", lambda tensors: upgrade_state(tensors, heads))
    loaded = checkpoints.load_newest() if checkpoints.exist() else None
    if loaded is None:
        raise TrainingError(f"{experiment / 'training'}: no training state to average; it is needed for this command")
    if out.exists() and any(out.iterdir()):
        raise TrainingError(f"{out}: the folder is not empty; choose another --out")
    progress = loaded[0]
    rows = progress.best("wer", best) if best is not None else progress.validations[-(last or 1) :]
    epochs = [int(row["epoch"]) for row in rows]
    missing = [epoch for epoch in epochs if epoch not in checkpoints.kept_epochs()]
    if missing:
        raise TrainingError(
            f"{experiment}: weights of epochs {missing} were not kept; training.average_num decides how many are "
            f"(kept: {checkpoints.kept_epochs()})"
        )
    if (lora := bundle.experiment.lora) is not None:
        add_lora(bundle.model, lora, bundle.experiment.seed)
    bundle.model.load_state_dict(checkpoints.average_epochs(epochs))
    replace(bundle, spec=_averaged(bundle.experiment, epochs)).save(out, dtype)
    if (texts := TrainingTexts.load(experiment)) is not None:
        texts.save(out)
    pass_on_record(experiment, out)
    write_card(out)
    return epochs


def _averaged(config: Experiment, epochs: list[int]) -> Experiment:
    """The configuration, on record that the weights are not those that its run ended with."""
    if config.provenance is None:
        return config
    provenance = config.provenance.model_copy(update={"averaged": epochs})
    return config.model_copy(update={"provenance": provenance})
