"""Where the results of an evaluation go in a model folder, so that those of one decoding never replace another's."""

from __future__ import annotations

import json
from pathlib import Path

from asr.bundle.decode import Decoding

SCORE_FILE = "wer.json"


def results_folder(
    experiment: Path, manifest: Path, decoding: Decoding, own: Decoding, normalizer: str | None = None
) -> Path:
    """`results/<set>` for the model's own decoding, else `results/<set>.<search>[.<lm>][.hotwords][.exact]`, ...

    The name of another normaliser than the model's, where one is given, comes last.
    """
    name = manifest.stem
    if decoding != own:
        name += f".{decoding.search.name}"
        if decoding.lm is not None:
            name += f".{decoding.lm.name.removesuffix('.gz').removesuffix('.arpa')}"
        if decoding.hotwords:
            name += ".hotwords"
        told = (decoding.wish.language, decoding.wish.task, decoding.wish.prompt and "prompt")
        name += "".join(f".{part}" for part in (*told, decoding.exact and "exact") if part)
    return experiment / "results" / (name if normalizer is None else f"{name}.{normalizer}")


def replaced_results(folder: Path, decoding: Decoding) -> str | None:
    """A line about results of another decoding in a folder, which this one is about to replace; None without such."""
    path = folder / SCORE_FILE
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
        earlier = {key: before.get(key) for key in decoding.to_json()}
        name, rate = before["search"]["name"], before["wer"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return f"{path}: replaced a file that was no result of an evaluation"
    if earlier == decoding.to_json():
        return None
    shown = "-" if rate is None else f"{100 * rate:.2f} %"
    return f"{folder}: replaced the results of another decoding ({name}, WER {shown}); --out keeps both"
