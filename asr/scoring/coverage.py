"""References that a model cannot write, whatever it recognises."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from asr.text.tokenizer import Tokenizer

NUM_SHOWN = 40  # characters


def unwritable(references: Iterable[str], tokenizer: Tokenizer) -> str | None:
    """A line where references, as they were compared, hold characters that the tokenizer cannot write; else None."""
    counts = Counter(character for text in references for character in text if not character.isspace())
    unknown = tokenizer.unknown_characters("".join(counts))
    if not unknown:
        return None
    share = sum(counts[character] for character in unknown) / counts.total()
    more = f" and {len(unknown) - NUM_SHOWN} more" if len(unknown) > NUM_SHOWN else ""
    shown = f"{' '.join(unknown[:NUM_SHOWN])}{more}"
    letters = "".join(character.swapcase() for character in unknown if character.swapcase() != character)
    other_case = bool(letters) and not tokenizer.unknown_characters(letters)
    advice = "; it writes these letters in the other case, so give references in that" if other_case else ""
    return f"the model cannot write {shown}, {100 * share:.1f} % of the characters of the references{advice}"
