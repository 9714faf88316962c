"""Scores of all utterances and, apart, of those whose texts a model has and has not seen in training."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from asr.bundle.training_texts import TrainingTexts
from asr.scoring.wer import Score, score
from asr.text.normalize import normalize
from asr.types import Utterance


def score_of(utterances: Iterable[Utterance], texts: dict[str, str], normalizer: str) -> Score:
    """The score of hypotheses by utterance id; an utterance without one counts as empty."""
    utterances = list(utterances)
    references = {utterance.id: utterance.text for utterance in utterances}
    speakers = {utterance.id: utterance.speaker for utterance in utterances}
    return score(references, {id: texts.get(id, "") for id in references}, normalize=normalizer, speakers=speakers)


def strata_of(
    utterances: Sequence[Utterance],
    texts: dict[str, str],
    normalizer: str,
    training: TrainingTexts | None,
    training_normalizer: str,
) -> dict[str, Score | None]:
    """Scores of the utterances whose text the model has, and has not, seen in training; nothing if that is unknown.

    `training_normalizer` is what the training texts went through.
    """
    if training is None:
        return {}
    strata: dict[str, list[Utterance]] = {"seen": [], "unseen": []}
    for utterance in utterances:
        seen = training.has_text(normalize(utterance.text, training_normalizer))
        strata["seen" if seen else "unseen"].append(utterance)
    return {name: score_of(rows, texts, normalizer) if rows else None for name, rows in strata.items()}
