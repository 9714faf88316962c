"""The words of a text in any script, each with the tokens that write it.

Words are what spaces separate, with the punctuation around them. Scripts without spaces (Chinese, Japanese, Thai, ...)
have characters for words, each with its accents and with the punctuation next to it. A mark between spaces that is no
sound, such as a dash, goes with the word before it, or with the first one.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

from asr.text.tokenizer.base import WordSpan

# Han, kana, Bopomofo and their extensions; Thai, Lao, Tibetan, Myanmar, Khmer and its neighbours.
SPACELESS = (
    *((0x2E80, 0x2FDF), (0x3005, 0x3007), (0x3021, 0x3029), (0x3031, 0x303C), (0x3040, 0x30FA), (0x30FC, 0x312F)),
    *((0x31A0, 0x31BF), (0x31F0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0xFF66, 0xFF9F)),
    *((0x1AFF0, 0x1B16F), (0x20000, 0x323AF)),
    *((0x0E00, 0x0EFF), (0x0F00, 0x0FFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x1950, 0x1AAF)),
)
WIDE_PUNCTUATION = frozenset("\u3001\u3002\u30fb\uff01\uff0c\uff0e\uff1a\uff1b\uff1f")  # after it a word may begin
SPOKEN = frozenset("%&@\u00a7")  # punctuation by their category, but words when read

Character = tuple[str, int, int]  # with the first token that writes it and the one after the last


def is_spaceless(character: str) -> bool:
    """Whether a character is of a script that puts no spaces between words."""
    code = ord(character)
    return code >= SPACELESS[-5][0] and any(first <= code <= last for first, last in SPACELESS)


def split_into_words(characters: Iterable[Character]) -> list[WordSpan]:
    """The words that characters in order make, white space among them."""
    words: list[WordSpan] = []
    text, letter, start, stop, spaced = "", "", 0, 0, True  # of the word so far; its last letter
    loose = ""  # marks before the first word

    def finish() -> None:
        nonlocal text, loose
        if text and not letter and words:
            between = " " if spaced else ""
            words[-1] = words[-1]._replace(text=f"{words[-1].text}{between}{text}", stop=stop)
        elif text and not letter:
            loose += f"{text} "
        elif text:
            words.append(WordSpan(loose + text, start, stop, spaced))
            loose = ""
        text = ""

    follows_space = True
    for character, first, last in characters:
        if character.isspace():
            finish()
            follows_space = True
            continue
        if text and _begins_word(text[-1], letter, character):
            finish()
        if not text:
            letter, start, spaced = "", first, follows_space
        follows_space = False
        text, stop = text + character, last
        if _sounds(character):
            letter = character
    finish()
    if loose:  # there is nothing but marks
        words.append(WordSpan(loose.rstrip(), start, stop, True))
    return words


def _begins_word(before: str, letter: str, character: str) -> bool:
    """Whether a new word begins with a character, without a space, after a word that ends with `before`."""
    category = unicodedata.category(character)
    if not letter or category[0] == "M" or category == "Cf":
        return False
    if category in ("Ps", "Pi"):
        return is_spaceless(letter)
    if not _sounds(character):
        return False
    return is_spaceless(character) or is_spaceless(letter) or before in WIDE_PUNCTUATION


def _sounds(character: str) -> bool:
    return unicodedata.category(character)[0] in "LNS" or character in SPOKEN


def joined(words: Sequence[WordSpan], between: str = " ") -> str:
    """The text of words; `between` stands before those that follow a space."""
    return "".join(between * (word.spaced and place > 0) + word.text for place, word in enumerate(words))
