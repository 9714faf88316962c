"""Near-duplicate texts are found without comparing everything, and none is missed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.text.near import NearTexts


def edits(left: list[str], right: list[str]) -> int:
    """Levenshtein distance by the textbook table."""
    row = list(range(len(right) + 1))
    for i, word in enumerate(left, start=1):
        before, row[0] = row[0], i
        for j, other in enumerate(right, start=1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (word != other))
    return row[-1]


def similarity(left: str, right: str) -> float:
    words, others = left.split(), right.split()
    longer = max(len(words), len(others))
    return 1 - edits(words, others) / longer if longer else 1.0


few_words = st.lists(st.sampled_from("abcde"), min_size=1, max_size=12).map(" ".join)


@given(st.lists(few_words, max_size=12), few_words, st.sampled_from([0.5, 0.6, 0.75, 0.8, 0.9, 1.0]))
def test_the_most_similar_text_is_that_of_comparing_with_all(texts, text, threshold):
    best = max((similarity(text, other) for other in texts), default=0.0)
    match = NearTexts(texts, threshold).find(text)
    if best < threshold - 1e-9:
        assert match is None
    else:
        assert match is not None
        assert match.similarity == pytest.approx(best)
        assert similarity(text, texts[match.text]) == pytest.approx(best)


@given(few_words, st.data())
def test_a_text_with_a_fifth_of_its_words_changed_is_found(text, data):
    words = text.split()
    changed = list(words)
    for place in data.draw(st.sets(st.integers(0, len(words) - 1), max_size=len(words) // 5)):
        changed[place] = "new"
    assert NearTexts(["x y z", text], 0.8).find(" ".join(changed)) is not None


def test_words_that_the_index_lacks_are_edits_also_where_both_texts_lack_them():
    index = NearTexts(["one two three four five"], 0.8)
    assert index.find("one two three four SIX").similarity == pytest.approx(0.8)
    assert index.find("one two three SIX SIX") is None


def test_an_empty_index_and_an_empty_text_find_nothing():
    assert NearTexts([], 0.8).find("one") is None
    assert NearTexts(["one"], 0.8).find("") is None


def test_codes_of_words_step_over_surrogates():
    texts = [" ".join(f"w{number}" for number in range(start, start + 1000)) for start in range(0, 60_000, 1000)]
    index = NearTexts(texts, 0.9)
    assert [index.find(text).text for text in texts] == list(range(60))
