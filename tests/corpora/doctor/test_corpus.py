"""What is usual in a corpus, and which rows are not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.corpora.doctor.corpus import common_scripts, known_scripts, most_common, repeats, scripts_of, unusual_durations


@pytest.mark.parametrize(
    ("text", "scripts"),
    [
        ("Don't stop, 3 times!", {"latin"}),
        ("naïve \N{FULLWIDTH LATIN SMALL LETTER W}ide ª µ", {"latin", "greek"}),
        ("Привет", {"cyrillic"}),
        ("p\N{CYRILLIC SMALL LETTER A}ypal", {"latin", "cyrillic"}),
        ("東京へ行くテスト", {"han", "hiragana", "katakana"}),
        ("कखग", {"devanagari"}),
        ("42 ... \N{MODIFIER LETTER APOSTROPHE} ー \N{COMBINING ACUTE ACCENT}", set()),
    ],
)
def test_letters_tell_their_script_and_other_characters_tell_none(text, scripts):
    assert scripts_of(text) == scripts
    assert scripts <= known_scripts()


@given(st.text())
def test_every_text_has_scripts_that_are_known(text):
    assert scripts_of(text) <= KNOWN


KNOWN = known_scripts()


def test_scripts_that_a_fair_share_of_texts_uses_are_expected():
    texts = ["今日は"] * 20 + ["テスト"] * 3 + ["привет"]
    assert common_scripts(texts) == {"han", "hiragana", "katakana"}
    assert common_scripts(["1 2", ""]) == frozenset()


def test_the_most_common_value_is_the_larger_of_two():
    assert most_common([8000, 16000]) == 16000
    assert most_common([8000, 8000, 16000]) == 8000
    assert most_common([]) is None


@given(st.lists(st.sampled_from("abc")))
def test_repeats_are_all_but_the_first_of_each(keys):
    found = dict(repeats(keys))
    assert [place for place in range(len(keys)) if place not in found] == [
        keys.index(key) for key in dict.fromkeys(keys)
    ]
    assert all(keys[place] == keys[origin] for place, origin in found.items())


def test_durations_that_fit_pause_and_rate_are_usual_and_others_are_not():
    rng = np.random.default_rng(0)
    letters = rng.integers(3, 80, 200)
    seconds = (0.8 + 0.06 * letters) * rng.lognormal(0, 0.15, 200)
    letters[7], seconds[7] = 40, 30.0
    letters[8], seconds[8] = 60, 0.9
    letters[9], seconds[9] = 0, 100.0
    assert set(unusual_durations(letters.tolist(), seconds.tolist())) == {7, 8}
    assert unusual_durations(letters.tolist(), seconds.tolist())[7] == pytest.approx(0.8 + 0.06 * 40, rel=0.1)


def test_texts_of_equal_length_have_a_usual_duration_too():
    assert set(unusual_durations([5] * 50, [1.0] * 48 + [0.95, 4.0])) == {49}


def test_few_rows_do_not_tell_what_is_usual():
    assert unusual_durations([5] * 20, [1.0] * 19 + [60.0]) == {}
