"""Options that sclite's users know: marks, hesitations, hyphens, compounds."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.errors import ScoringError
from asr.scoring.alignment import ErrorCounts, count_operations
from asr.scoring.rules import ALIGNERS, Rules, read_hesitations

every_alignment = pytest.mark.parametrize("align", sorted(ALIGNERS))


def errors(rules: Rules, reference: str, hypothesis: str) -> int:
    return count_operations(rules.compare(reference, hypothesis)[2]).errors


@every_alignment
@pytest.mark.parametrize("said", ["i've um seen it", "i've uh seen it", "i've seen it"])
def test_any_of_the_alternatives_is_right(align: str, said: str) -> None:
    rules = Rules(align=align, markup=True)
    reference, hypothesis, operations = rules.compare("i've { um / uh / @ } seen it", said)
    assert reference == hypothesis == said
    assert set(operations) == {"="}
    assert errors(rules, "i've { um / uh / @ } seen it", "i've er seen it") == 1


@every_alignment
def test_a_word_that_may_be_left_out_is_right_with_it_and_without_but_not_as_another(align: str) -> None:
    rules = Rules(align=align, markup=True)
    for hypothesis, expected in (("i uh know", "==="), ("i know", "=o="), ("i er know", "=S=")):
        assert rules.compare("i (uh) know", hypothesis)[2] == expected


@every_alignment
def test_without_markup_marks_are_words(align: str) -> None:
    assert errors(Rules(align=align), "{ a / b } (uh)", "a uh") == 5


def test_a_normaliser_acts_on_the_words_between_marks() -> None:
    rules = Rules("english", markup=True)
    assert rules.compare("{ We'll / I'll } (Uh) GO, { uh / well } km/h", "we will go well km h") == (
        "we will go well km h",
        "we will go well km h",
        "======",
    )


paths = st.recursive(
    st.lists(st.sampled_from(["a", "b", "c"]), max_size=3),
    lambda inner: st.lists(st.tuples(inner, inner), min_size=1, max_size=2),
    max_leaves=5,
)


def written(tree: list) -> str:
    parts = (part if isinstance(part, str) else f"{{ {written(part[0])} / {written(part[1])} }}" for part in tree)
    return " ".join(parts) or "@"


def readings(tree: list) -> list[list[str]]:
    """Every choice of alternatives."""
    found: list[list[str]] = [[]]
    for part in tree:
        more = [[part]] if isinstance(part, str) else [*readings(part[0]), *readings(part[1])]
        found = [begin + end for begin in found for end in more]
    return found


@given(paths, st.lists(st.sampled_from(["a", "b", "c"]), max_size=5))
def test_the_fewest_errors_of_all_readings_are_counted(tree: list, hypothesis: list[str]) -> None:
    plain, text = Rules(), " ".join(hypothesis)
    fewest = min(errors(plain, " ".join(reading), text) for reading in readings(tree))
    assert errors(Rules(markup=True), written(tree), text) == fewest
    assert errors(Rules(markup=True), text, written(tree)) == fewest


@every_alignment
def test_hesitations_count_on_neither_side(align: str) -> None:
    rules = Rules(align=align, hesitations=("uh", "um"))
    assert rules.compare("uh i um know", "i uh uh know") == ("i know", "i know", "==")


def test_hesitations_are_listed_or_stand_in_a_file_and_are_normalised(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("Uh\n\nUm\nUm\n", encoding="utf-8")
    assert read_hesitations("Uh, Um,") == read_hesitations(str(tmp_path / "list")) == ("Uh", "Um")
    assert read_hesitations("Uh,Um", "basic") == ("uh", "um")
    (tmp_path / "list").write_bytes(b"\xff")
    with pytest.raises(ScoringError, match="cannot read the hesitations"):
        read_hesitations(str(tmp_path / "list"))


def test_hyphens_inside_words_are_spaces_when_split() -> None:
    rules = Rules(split_hyphens=True)
    assert rules.compare("age-old well--known fi- -", "age old well known fi- -") == (
        "age old well known fi- -",
        "age old well known fi- -",
        "======",
    )
    assert errors(Rules(), "age-old", "age old") == 2


@every_alignment
def test_compounds_are_right_together_and_apart_and_the_reference_keeps_its_words(align: str) -> None:
    rules = Rules(align=align, merge_compounds=True)
    assert count_operations(rules.compare("the data base is", "the database is")[2]) == ErrorCounts(hits=4)
    assert count_operations(rules.compare("the database is", "the data base is")[2]) == ErrorCounts(hits=3)
    assert count_operations(rules.compare("some one a way", "someone away")[2]) == ErrorCounts(hits=4)
    assert errors(rules, "data base", "database base") == 1
    assert errors(rules, "data base", "data bass") == 1


def test_compounds_and_alternatives_go_together() -> None:
    rules = Rules(markup=True, merge_compounds=True)
    assert rules.compare("{ data base / table } (uh) x", "database x") == ("data base uh x", "data base x", "==o=")


def test_the_record_says_what_was_done() -> None:
    rules = Rules("basic", "sclite", True, ("uh",), True, True)
    assert rules.to_json() == {
        "align": "sclite",
        "normalize": "basic",
        "markup": True,
        "hesitations": ["uh"],
        "split_hyphens": True,
        "merge_compounds": True,
    }
    assert rules.describe() == ("normalize basic, align sclite, markup, hesitations, split hyphens, merge compounds")
    assert Rules().describe() == "normalize none, align levenshtein"
