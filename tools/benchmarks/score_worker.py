"""The worker that scores texts, with asr or with jiwer: both need rapidfuzz, and the same one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tools.benchmarks.common import Stopwatch, serve, versions


class Scorer:
    """The jobs of the worker."""

    def __init__(self) -> None:
        self._references: list[str] = []
        self._hypotheses: list[str] = []

    def load(self, path: str) -> dict[str, str]:
        """Take the texts."""
        self._references, self._hypotheses = json.loads(Path(path).read_text(encoding="utf-8"))
        return versions(("asr-toolkit", "jiwer", "rapidfuzz", "numba", "numpy"))

    def asr(self) -> dict[str, Any]:
        """Counts and alignments by our scoring, ids and all."""
        from asr.scoring.wer import score

        references, hypotheses = ({str(row): text for row, text in enumerate(side)} for side in self._sides())
        watch = Stopwatch()
        with watch.running():
            counts = score(references, hypotheses).words
        return {
            "counts": [counts.hits, counts.substitutions, counts.deletions, counts.insertions],
            "seconds": watch.to_json(),
        }

    def jiwer(self) -> dict[str, Any]:
        """Counts and alignments by jiwer."""
        import jiwer

        watch = Stopwatch()
        with watch.running():
            found = jiwer.process_words(*self._sides())
        return {
            "counts": [found.hits, found.substitutions, found.deletions, found.insertions],
            "seconds": watch.to_json(),
        }

    def interval(self) -> dict[str, Any]:
        """All that `asr score` computes by default, with 10 000 bootstrap samples; the first time."""
        from asr.scoring.wer import score

        references, hypotheses = ({str(row): text for row, text in enumerate(side)} for side in self._sides())
        watch = Stopwatch()
        with watch.running():
            score(references, hypotheses).to_json()
        return {"seconds": watch.to_json()}

    def _sides(self) -> tuple[list[str], list[str]]:
        return self._references, self._hypotheses


if __name__ == "__main__":
    scorer = Scorer()
    serve({"load": scorer.load, "asr": scorer.asr, "jiwer": scorer.jiwer, "interval": scorer.interval})
