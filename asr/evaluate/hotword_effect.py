"""What hotwords gain and harm: scores with and without them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from asr.decoding.hotwords import Hotword
from asr.evaluate.strata import score_of
from asr.scoring.wer import Score
from asr.text.normalize import normalize
from asr.types import Utterance


@dataclass(frozen=True)
class HotwordEffect:
    """Scores with and without hotwords, of the utterances whose reference contains one and of the others."""

    containing: tuple[Score, Score] | None  # without, with; None where there are no such utterances
    others: tuple[Score, Score] | None
    recall: tuple[int, int, int]  # hotwords found without and with boosting, and how many there are

    def to_json(self) -> dict[str, Any]:
        """Scores under "without" and "with" for each group, and the recall of the hotwords themselves."""
        groups = {"containing": self.containing, "others": self.others}
        return {
            **{
                name: {"without": pair[0].to_json(), "with": pair[1].to_json()} if pair else None
                for name, pair in groups.items()
            },
            "recall": dict(zip(("without", "with", "of"), self.recall, strict=True)),
        }


def hotword_effect(
    hotwords: Sequence[Hotword],
    normalizer: str,
    utterances: Sequence[Utterance],
    plain: dict[str, str],
    boosted: dict[str, str],
) -> HotwordEffect:
    """Compare hypotheses by utterance id without and with hotwords."""
    phrases = [normalize(hotword.text, normalizer).split() for hotword in hotwords]

    def occurrences(text: str) -> list[int]:
        words = normalize(text, normalizer).split()
        return [
            sum(words[at : at + len(phrase)] == phrase for at in range(len(words) - len(phrase) + 1))
            for phrase in phrases
        ]

    containing = [utterance for utterance in utterances if any(occurrences(utterance.text))]
    ids = {utterance.id for utterance in containing}
    others = [utterance for utterance in utterances if utterance.id not in ids]

    def both(rows: Sequence[Utterance]) -> tuple[Score, Score] | None:
        return (score_of(rows, plain, normalizer), score_of(rows, boosted, normalizer)) if rows else None

    def found(texts: dict[str, str]) -> int:
        pairs = ((occurrences(row.text), occurrences(texts.get(row.id, ""))) for row in containing)
        return sum(min(spoken, written) for pair in pairs for spoken, written in zip(*pair, strict=True))

    total = sum(sum(occurrences(row.text)) for row in containing)
    return HotwordEffect(both(containing), both(others), (found(plain), found(boosted), total))
