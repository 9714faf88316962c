"""What a command is to write, looked at before it begins."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

MODEL_FILES = (  # of a model folder, but for results and training state
    "config.yaml",
    "decode.yaml",
    "lm.arpa",
    "lm.arpa.gz",
    "model.safetensors",
    "tokenizer.model",
    "tokens.txt",
    "training_texts.bin",
)


def check_outputs(
    outputs: Iterable[Path | None], inputs: Iterable[Path | str | None], model: Path | None = None
) -> None:
    """`asr.system.outputs.check_outputs`, where a model folder is read, too, and no recording is ever written over."""
    from asr.errors import UsageError
    from asr.system.outputs import check_outputs as check

    wanted = [path for path in outputs if path is not None]
    check(wanted, [*inputs, *((model / name for name in MODEL_FILES) if model is not None else ())])
    for path in wanted:
        if path.is_file() and is_recording(path):
            raise UsageError(f"{path}: is a recording, which nothing is written over; choose another output")


def is_recording(path: Path) -> bool:
    """Whether a file is audio by its name, that of the target of a link."""
    from asr.audio.io import AUDIO_SUFFIXES

    return path.resolve().suffix.lower() in AUDIO_SUFFIXES
