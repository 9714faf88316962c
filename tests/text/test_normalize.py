import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.errors import TextError
from asr.text.normalize import NORMALIZERS, normalize, spell

every_normalizer = pytest.mark.parametrize("name", sorted(NORMALIZERS))

# Pieces that trigger rules, so that random joins make their combinations likely.
RULE_PIECES = ["n't", "'re", "'ve", "'ll", "'m", "can", "won't", "uh", "er", "mm", "mr", "ain't", "let's", "prof"]
RULE_PIECES += ["'", "1,0", "3.5", "%", "&", " ", "-", ".", "A", "Σ", "\u0130", "\u0149", "\u2019", "\u00b4", "\u200d"]


@every_normalizer
@given(text=st.one_of(st.text(), st.lists(st.sampled_from(RULE_PIECES)).map("".join)))
def test_normalising_twice_changes_nothing_more(name, text):
    once = normalize(text, name)
    assert normalize(once, name) == once
    assert once == " ".join(once.split())


@every_normalizer
def test_every_character_of_unicode_is_stable_after_one_pass(name):
    characters = [chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code))[0] != "C"]
    once = [normalize(f"a{character}", name) for character in characters]
    assert [normalize(text, name) for text in once] == once


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("none", "  YES,\t NO \n", "YES, NO"),
        ("none", "", ""),
        ("basic", "Well-known -- 3.5 DON`T!", "well known 3 5 don't"),
        ("basic", "don\u2019t 'quote' rock 'n' roll o''clock", "don't quote rock n roll o clock"),
        ("basic", "\uff26ull \ufb01 ÉCOLE cafe\u0301 so\u00adft snake_case", "full fi école café soft snake case"),
        ("basic", "हिन्दी की बात, 日本語。", "हिन्दी की बात 日本語"),
        ("basic", "... -- !", ""),
        ("english", "Mr. O'Neil can't've & we'll", "mister o'neil can not have and we will"),
        ("english", "1,000.5%, 1, 2", "1000 point 5 percent 1 2"),
        ("english", "Uh, ummm -- to err is, er, HUMAN. Hmm!", "to err is human"),
        ("english", "I'm sure he won't, they shouldn't", "i am sure he will not they should not"),
        ("english", "It's? Ain't! Let's.", "it's ain't let us"),
        ("english", "n't 're 0'n't", "n't re 0 not"),
    ],
)
def test_examples_of_each_rule(name, text, expected):
    assert normalize(text, name) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("今天 天气 很好", "今天天气很好"),
        ("これ は テスト です 。", "これはテストです。"),
        ("日本 語 is it", "日本語is it"),
        ("𠮷 野家", "𠮷野家"),
        ("ｶﾀ ｶﾅ", "ｶﾀｶﾅ"),
        ("오늘 날씨", "오늘 날씨"),
        ("café au lait", "café au lait"),
        ("plain text", "plain text"),
    ],
)
def test_only_chinese_and_japanese_are_spelled_without_spaces(text, expected):
    assert spell(text) == expected
    assert spell(expected) == expected


def test_an_unknown_normaliser_is_a_text_error_naming_the_nearest():
    with pytest.raises(TextError, match="unknown normaliser 'englsh'; did you mean 'english'"):
        normalize("a", "englsh")
