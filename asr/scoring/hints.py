"""What may be wrong with texts whose words differ much."""

from __future__ import annotations

from itertools import islice

from asr.scoring.wer import Score, score

MIN_RATE = 0.2
MIN_SHARE = 0.5  # of the errors that the normaliser takes away
NUM_ROWS = 1000  # looked at
PLAIN = "basic"


def normalizer_hint(found: Score) -> str | None:
    """A line where most errors are none but for case, punctuation and ways to write a character; else None."""
    rate = found.words.rate
    if found.rules.normalize != "none" or not found.rules.is_plain or rate is None or rate < MIN_RATE:
        return None
    ids = found.ids[:NUM_ROWS]
    references = dict(zip(ids, islice(found.references, NUM_ROWS), strict=True))
    hypotheses = dict(zip(ids, islice(found.hypotheses, NUM_ROWS), strict=True))
    plain = score(references, hypotheses, normalize=PLAIN).words
    if plain.rate is None or plain.errors > (1 - MIN_SHARE) * int(found.utterance_errors[:NUM_ROWS].sum()):
        return None
    return (
        f"most of the errors are of case, punctuation or ways to write a character: with --normalize {PLAIN} the WER "
        f"is {100 * plain.rate:.2f} %{' in the first utterances' if len(found.ids) > NUM_ROWS else ''}"
    )
