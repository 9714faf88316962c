"""Text normalisation by name: the same for training text and for scoring, and on record with both.

Every normaliser but the last two is idempotent: normalising twice changes nothing.

`none`     Strips the text and makes every run of white space one space.
`upper`    As `none`, then upper case, as LibriSpeech and AN4 are written.
`basic`    For any language. 1. Unicode NFKC, lower case; 2. backquote, acute accent and curly apostrophes become `'`;
           3. letters, marks and digits stay, invisible format characters vanish, and everything else becomes a
           space, save single apostrophes inside a word; 4. as `none`.
           "Well-known -- 3.5 DON`T!" becomes "well known 3 5 don't".
`english`  For spoken English. 1. A comma between digits vanishes, a point between digits is read "point", `%`
           "percent", `&` "and"; 2. as `basic`; 3. word by word: the hesitations uh, um, ah, eh, hm, mm (last letter
           repeated, too) and er vanish; mr, mrs, dr and prof are spelled out; cannot, can't, won't, shan't and let's
           are written out, and so are the endings n't, 're, 've, 'll and 'm ("we'll" becomes "we will"). Endings
           with two readings ('s, 'd) stay, as do numbers in digits and British or American spellings.

For scores alone, and from a package that need not be installed (`asr.text.whisper_normalize`):

`whisper-english`, `whisper-basic`  As published with Whisper; not idempotent.

Character error rates apply one more, on top of any of these:

`cjk`      Spaces beside Chinese and Japanese characters vanish: where words end is no part of these scripts. Korean and
           all others keep theirs. "日本 語 is it" becomes "日本語is it".
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

from asr.errors import TextError
from asr.registry import did_you_mean
from asr.text import whisper_normalize

APOSTROPHE = "'"
APOSTROPHES = str.maketrans(dict.fromkeys("\u0060\u00b4\u2018\u2019\u201b\u02b9\u02bc\u2032\uff07", APOSTROPHE))
# Han with its iteration marks and extensions, kana, Bopomofo, CJK punctuation, full-width forms.
_CJK = "\u2e80-\u2fdf\u3000-\u303f\u3040-\u30ff\u3100-\u312f\u31a0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_CJK += "\ufe30-\ufe4f\uff00-\uff9f\U00016ff0-\U00016fff\U0001aff0-\U0001b16f\U00020000-\U000323af"
_SPACE_BESIDE_CJK = re.compile(f"(?<=[{_CJK}]) +| +(?=[{_CJK}])")
_HESITATION = re.compile("uh+|um+|ah+|eh+|hm+|mm+|er")
_WHOLE_WORDS = {
    "mr": "mister",
    "mrs": "missus",
    "dr": "doctor",
    "prof": "professor",
    "cannot": "can not",
    "can't": "can not",
    "won't": "will not",
    "shan't": "shall not",
    "let's": "let us",
    "ain't": "ain't",  # has no full form
}
_ENDINGS = {"n't": "not", "'re": "are", "'ve": "have", "'ll": "will", "'m": "am"}


class _WordCharacters(dict[int, str]):
    """Translation table that is filled as characters are met."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        category = unicodedata.category(character)
        kept = character if category[0] in "LMN" or character == APOSTROPHE else "" if category == "Cf" else " "
        return self.setdefault(code, kept)


_WORD_CHARACTERS = _WordCharacters()


def normalize(text: str, name: str) -> str:
    """The text under the normaliser of that name; TextError names the nearest known one otherwise."""
    if name not in ALL_NORMALIZERS:
        raise TextError(f"unknown normaliser '{name}'{did_you_mean(name, ALL_NORMALIZERS)}")
    return ALL_NORMALIZERS[name](text)


def _none(text: str) -> str:
    return " ".join(text.split())


def _upper(text: str) -> str:
    return _none(text).upper()


def _basic(text: str) -> str:
    text = unicodedata.normalize("NFKC", text.translate(APOSTROPHES)).lower()  # NFKC makes a bare accent of U+00B4
    text = text.translate(APOSTROPHES).translate(_WORD_CHARACTERS)
    text = unicodedata.normalize("NFKC", re.sub("'{2,}", " ", text))
    return " ".join(word for token in text.split() if (word := token.strip(APOSTROPHE)))


def _english(text: str) -> str:
    text = re.sub(r"(?<=\d),(?=\d)", "", text)
    text = re.sub(r"(?<=\d)\.(?=\d)", " point ", text).replace("%", " percent ").replace("&", " and ")
    return " ".join(filter(None, map(_spell_out, _basic(text).split())))


def _spell_out(word: str) -> str:
    if _HESITATION.fullmatch(word):
        return ""
    if word in _WHOLE_WORDS:
        return _WHOLE_WORDS[word]
    for ending, full in _ENDINGS.items():
        if word.endswith(ending) and len(word) > len(ending):
            return f"{_spell_out(word.removesuffix(ending).rstrip(APOSTROPHE))} {full}".strip()
    return word


def spell(text: str) -> str:
    """A normalised text as character error rates compare it: under `cjk`."""
    return text if text.isascii() else _SPACE_BESIDE_CJK.sub("", text)


CER_NORMALIZER = "cjk"
NORMALIZERS: dict[str, Callable[[str], str]] = {"none": _none, "upper": _upper, "basic": _basic, "english": _english}
# those that models can be trained with, and those for scores alone
ALL_NORMALIZERS = {
    **NORMALIZERS,
    "whisper-english": whisper_normalize.english,
    "whisper-basic": whisper_normalize.basic,
}
