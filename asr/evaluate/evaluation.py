"""What a model made of a manifest, and how good that is: hypotheses.jsonl, wer.json, reliability.png, report.html."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asr.bundle.decode import Decoding
from asr.evaluate.hotword_effect import HotwordEffect
from asr.scoring.calibration import Calibration, draw_reliability
from asr.scoring.html.report import write_html
from asr.scoring.results import Results
from asr.scoring.wer import Score
from asr.system.display import percent
from asr.system.runtime import write_text_atomic
from asr.types import Utterance, Word


@dataclass(frozen=True)
class Evaluation:
    """What a model made of a manifest, and how good that is."""

    manifest: Path
    utterances: Sequence[Utterance]  # in the order of the manifest
    hypotheses: dict[str, str]  # by utterance id, in the same order
    n_best: dict[str, list[dict[str, Any]]]  # text, score and parts of the best ones, by utterance id
    score: Score
    strata: dict[str, Score | None]  # "seen" and "unseen"; None for a stratum without utterances
    confidences: dict[str, float | None]  # by utterance id; None without words or without a CTC head
    calibration: Calibration | None  # of the words' confidences; None without a CTC head
    hotwords: HotwordEffect | None  # None without hotwords
    worst: dict[str, tuple[Word, ...]]  # the worst utterances with the recognised words, those only with a CTC head
    decoding: Decoding
    num_batches: int
    seconds: float  # loading, features, model and search
    dtype: str = "float32"  # of the model's arithmetic

    @property
    def rtf(self) -> float | None:
        """Seconds of work per second of audio; None without audio."""
        audio_seconds = sum(utterance.duration for utterance in self.utterances)
        return self.seconds / audio_seconds if audio_seconds else None

    def to_json(self) -> dict[str, Any]:
        """The keys of a score, those of each stratum, the calibration, and the search with its settings."""
        return {
            **self.score.to_json(),
            "strata": {name: score.to_json() if score else None for name, score in self.strata.items()},
            "confidence": self.calibration.to_json() if self.calibration else None,
            "hotword_effect": self.hotwords.to_json() if self.hotwords else None,
            **self.decoding.to_json(),
            "dtype": self.dtype,
        }

    def save(self, folder: Path, model: Path | None = None) -> list[str]:
        """Write `hypotheses.jsonl`, `wer.json`, `report.html` and, with matplotlib, `reliability.png`.

        Each appears whole or not at all. The report names the model folder, `model`. Returns lines about what it lacks.
        """
        rows = (
            {
                "id": utterance.id,
                "text": self.hypotheses[utterance.id],
                "reference": utterance.text,
                "confidence": self.confidences[utterance.id],
                **({"nbest": self.n_best[utterance.id]} if utterance.id in self.n_best else {}),
            }
            for utterance in self.utterances
        )
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        write_text_atomic(folder / "hypotheses.jsonl", lines)
        write_text_atomic(folder / "wer.json", json.dumps(self.to_json(), indent=2) + "\n")
        if self.calibration is not None:
            draw_reliability(self.calibration, folder / "reliability.png")
        return write_html(
            Results(self.score),
            folder / "report.html",
            title=f"{model.resolve().name} on {self.manifest.name}" if model else self.manifest.name,
            facts={"Model": str(model), **_facts(self)} if model else _facts(self),
            utterances=self.utterances,
            worst=self.worst,
            parts={f"texts {name} in training": part for name, part in self.strata.items() if part},
        )


def _facts(evaluation: Evaluation) -> dict[str, str]:
    """How the hypotheses came about, in lines for people."""
    decoding = evaluation.decoding
    settings = ", ".join(f"{name} {value}" for name, value in decoding.search.model_dump(exclude={"name"}).items())
    facts = {
        "Manifest": str(evaluation.manifest),
        "Search": f"{decoding.search.name}{f' ({settings})' if settings else ''}",
        "Speed": f"{evaluation.seconds:.1f} s, real-time factor {evaluation.rtf or 0:.3f}",
    }
    if decoding.lm is not None:
        facts["Language model"] = f"{decoding.lm} ({decoding.lm_mode})"
    if decoding.hotwords:
        facts["Hotwords"] = ", ".join(f"{hotword.text}: {hotword.boost:g}" for hotword in decoding.hotwords)
    if evaluation.calibration is not None:
        facts["Confidence"] = f"expected calibration error {percent(evaluation.calibration.ece, '-')} %"
    return facts
