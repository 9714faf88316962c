"""Checkpoints of older versions can be gone on from."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from asr.training.checkpoint import CheckpointFolder, Progress


def test_progress_with_the_names_of_the_first_version_is_read(tmp_path: Path) -> None:
    checkpoints = CheckpointFolder(tmp_path)
    checkpoints.save(Progress(step=7, epoch_count=12, amount=3.5), {"model.x": torch.zeros(1)})
    (path,) = tmp_path.glob("checkpoints/*/progress.json")
    stored = json.loads(path.read_text(encoding="utf-8"))
    del stored["sha256"]
    stored["epoch_utterances"], stored["audio_seconds"] = stored.pop("epoch_count"), stored.pop("amount")
    path.write_text(json.dumps(stored), encoding="utf-8")
    loaded = checkpoints.load_newest()
    assert loaded is not None
    assert loaded[0] == Progress(step=7, epoch_count=12, amount=3.5)
