"""The result of an evaluation in lines for people."""

from __future__ import annotations

from asr.evaluate.evaluation import Evaluation
from asr.evaluate.hotword_effect import HotwordEffect
from asr.system.display import counted, percent

MANY_EMPTY = 0.1  # share of utterances without a word that deserves a warning


def table(evaluation: Evaluation) -> str:
    """The result as lines for people; rates in percent. The last line is how far confidences are from the truth."""
    rows = [("all", evaluation.score), *((name, part) for name, part in evaluation.strata.items() if part)]
    lines = [f"{'':8}{'WER %':>8}{'95 % interval':>18}{'S':>6}{'D':>6}{'I':>6}{'words':>8}{'utts':>7}{'CER %':>8}"]
    for name, result in rows:
        words = result.words
        interval = f"{100 * result.interval[0]:.2f} to {100 * result.interval[1]:.2f}" if result.interval else "-"
        lines.append(
            f"{name:8}{percent(words.rate, '-'):>8}{interval:>18}{words.substitutions:>6}{words.deletions:>6}"
            f"{words.insertions:>6}{words.reference_length:>8}{len(result.ids):>7}"
            f"{percent(result.characters.rate, '-'):>8}"
        )
    lines += _hotword_lines(evaluation.hotwords) if evaluation.hotwords else []
    if (calibration := evaluation.calibration) is not None:
        lines.append(f"confidence: ECE {percent(calibration.ece, '-')} % over {counted(calibration.words, 'word')}")
    return "\n".join(lines)


def silence(evaluation: Evaluation, steps: int | None) -> str | None:
    """A line where more than a tenth of all utterances got no word; None otherwise.

    `steps` are those that the model was trained for, None where nobody knows.
    """
    spoken = [utterance for utterance in evaluation.utterances if utterance.text.strip()]
    num_empty = sum(not evaluation.hypotheses[utterance.id] for utterance in spoken)
    if num_empty <= MANY_EMPTY * len(spoken):
        return None
    if num_empty < len(spoken):
        return f"{num_empty} of {counted(len(spoken), 'utterance')}: no words recognised"
    return "the model writes nothing" + ("" if steps is None else f": trained for {counted(steps, 'step')}")


def without_text(evaluation: Evaluation) -> str | None:
    """A line where some references are empty, which may be meant or not; None otherwise."""
    empty = [utterance.id for utterance in evaluation.utterances if not utterance.text.strip()]
    if not empty:
        return None
    return (
        f"{len(empty)} of {counted(len(evaluation.utterances), 'utterance')} without a text, '{empty[0]}' for one: "
        "every word recognised there counts as inserted"
    )


def _hotword_lines(effect: HotwordEffect) -> list[str]:
    """Gain and harm of the hotwords."""
    without, boosted, total = effect.recall
    lines = [f"hotwords: {without} of {total} found without boosting, {boosted} with"]
    for name, pair in (("with a hotword", effect.containing), ("without one", effect.others)):
        if pair is not None:
            plain, helped = (score.words for score in pair)
            lines.append(
                f"  {counted(len(pair[0].ids), 'utterance')} {name}: "
                f"WER {percent(plain.rate, '-')} -> {percent(helped.rate, '-')} % "
                f"({plain.errors} -> {counted(helped.errors, 'error')})"
            )
    return lines
