"""Two systems on the same references: how far apart they are, and whether that is more than chance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from asr.errors import ScoringError
from asr.scoring.sclite.mapsswe import MatchedPairs, matched_pairs, segment_errors
from asr.scoring.significance import PairedBootstrap, paired_bootstrap
from asr.scoring.wer import Score

LEVEL = 0.05  # of significance


@dataclass(frozen=True)
class Comparison:
    """System A, system B and two tests of the difference between their word error rates."""

    first: Score
    second: Score
    bootstrap: PairedBootstrap | None  # over utterances; None without reference words
    speaker_bootstrap: PairedBootstrap | None  # over speakers; None unless all of them are known
    mapsswe: MatchedPairs

    @property
    def verdict(self) -> str:
        """One plain sentence. B counts as better, or worse, where both tests say so with p below 0.05."""
        if self.bootstrap is None:
            return "Nothing can be said about A and B: there are no reference words."
        is_significant = [self.bootstrap.p_value < LEVEL, self.mapsswe.p_value < LEVEL]
        gain = self.bootstrap.difference
        if all(is_significant) and gain:
            claim = f"B is {'better' if gain > 0 else 'worse'} than A"
        elif any(is_significant) and gain:
            claim = f"It is not sure that B is {'better' if gain > 0 else 'worse'} than A: the tests disagree"
        else:
            claim = "B is neither better nor worse than A as far as these utterances can tell"
        rate, other_rate = (100 * (score.words.rate or 0.0) for score in (self.first, self.second))
        low, high = (100 * bound for bound in self.bootstrap.interval)
        return (
            f"{claim} (WER of A {rate:.2f} %, of B {other_rate:.2f} %; A minus B {100 * gain:.2f} points, "
            f"95 % interval {low:.2f} to {high:.2f}; "
            f"paired bootstrap {show_p(self.bootstrap.p_value)}, MAPSSWE {show_p(self.mapsswe.p_value)})."
        )

    def to_json(self) -> dict[str, Any]:
        """The key `comparison` of `asr score --compare --json`; differences are those of A minus B, as fractions."""
        return {
            "wer": self.second.words.rate,
            "bootstrap": self.bootstrap.to_json() if self.bootstrap else None,
            "bootstrap_by_speaker": self.speaker_bootstrap.to_json() if self.speaker_bootstrap else None,
            "mapsswe": self.mapsswe.to_json(),
            "verdict": self.verdict,
            "second": self.second.to_json(),
        }


def compare(first: Score, second: Score) -> Comparison:
    """Test A against B; ScoringError unless both are scores of the same utterances in the same order."""
    if first.ids != second.ids:
        raise ScoringError("the two systems were not scored on the same utterances; score both against one reference")
    differences = []
    wrong = (first.utterance_errors > 0) | (second.utterance_errors > 0)
    rows = zip(wrong.tolist(), first.alignments(), second.alignments(), strict=True)
    for is_wrong, alignment, other in rows:
        if is_wrong:
            differences += [errors - other_errors for errors, other_errors in segment_errors(alignment, other)]
    speaker_bootstrap = None
    if (speakers := first.speaker_counts()) is not None and (other_speakers := second.speaker_counts()) is not None:
        speaker_bootstrap = paired_bootstrap(speakers, other_speakers)
    return Comparison(
        first,
        second,
        paired_bootstrap(
            (first.utterance_errors, first.utterance_lengths), (second.utterance_errors, second.utterance_lengths)
        ),
        speaker_bootstrap,
        matched_pairs(differences),
    )


def show_p(p_value: float) -> str:
    """A p-value with four decimals, as text."""
    return "p < 0.0001" if p_value < 0.0001 else f"p = {p_value:.4f}"
