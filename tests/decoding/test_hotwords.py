"""Hotwords: what a text earns is the boost of every phrase in it, whatever the tokens."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.decoding.hotwords import (
    DEFAULT_BOOST,
    Hotword,
    HotwordScorer,
    in_case_of,
    normalized_hotwords,
    parse_hotword,
    read_hotwords,
)
from asr.errors import ConfigError
from asr.text.tokenizer import TOKENIZERS, train_tokenizer
from asr.text.tokenizer.base import SPACE
from tests.foreign_vocabularies import FOREIGN, Pieces, ours

CHARACTERS = ours((SPACE, "a", "b", "c"))
SUBWORDS = ours((SPACE, "a", "b", "c", SPACE + "a", SPACE + "ab", "bc", SPACE + "c"))
PHRASES = [Hotword("ab", 2.0), Hotword("ab c", 3.0), Hotword("b", 0.5), Hotword("cab", 1.0), Hotword("c ab", 7.0)]


def earned(hotwords: list[Hotword], tokenizer: Pieces, tokens: list[int]) -> float:
    """The scores of the tokens and of the end, added up as a search would."""
    scorer = HotwordScorer(hotwords, tokenizer)
    state = scorer.init_state(1, torch.device("cpu"))
    total, last = 0.0, tokenizer.vocabulary.start
    for token in [*tokens, tokenizer.vocabulary.end]:
        scores, state = scorer.step(torch.tensor([last]), state)
        total += float(scores[0, token])
        last = token
    return total


def deserved(text: str, phrases: list[Hotword]) -> float:
    """Boosts of all occurrences, found by looking for them everywhere."""
    words = text.split()
    total = 0.0
    for phrase in phrases:
        wanted = phrase.text.split()
        total += phrase.boost * sum(words[i : i + len(wanted)] == wanted for i in range(len(words)))
    return total


@settings(deadline=None)
@given(st.lists(st.integers(4, SUBWORDS.vocab_size - 1), max_size=12))
def test_a_text_earns_the_boost_of_every_phrase_in_it_whatever_the_tokens(tokens: list[int]) -> None:
    text = "".join(SUBWORDS.vocabulary.piece(token) for token in tokens).replace(SPACE, " ")
    assert earned(PHRASES, SUBWORDS, tokens) == pytest.approx(deserved(text, PHRASES), abs=1e-9)


def test_part_of_a_word_earns_in_proportion_and_gives_it_back_when_the_word_goes_on_differently() -> None:
    scorer = HotwordScorer([Hotword("abc", 4.0)], CHARACTERS)
    a, b, c = (CHARACTERS.vocabulary.id(letter) for letter in "abc")
    state = scorer.init_state(1, torch.device("cpu"))
    scores, state = scorer.step(torch.tensor([CHARACTERS.vocabulary.sos]), state)
    assert scores[0, a] == pytest.approx(1.0)
    assert scores[0, b] == 0.0
    scores, state = scorer.step(torch.tensor([a]), state)
    assert scores[0, b] == pytest.approx(1.0)
    assert scores[0, c] == pytest.approx(-1.0)
    assert scores[0, CHARACTERS.vocabulary.eos] == pytest.approx(-1.0)


def test_a_word_inside_another_earns_nothing() -> None:
    hotwords = [Hotword("ab", 4.0)]
    a, b, c = (CHARACTERS.vocabulary.id(letter) for letter in "abc")
    assert earned(hotwords, CHARACTERS, [a, b, c]) == pytest.approx(0.0)
    assert earned(hotwords, CHARACTERS, [c, a, b]) == pytest.approx(0.0)
    assert earned(hotwords, CHARACTERS, [a, b]) == pytest.approx(4.0)


@pytest.mark.parametrize("name", FOREIGN)
def test_a_text_earns_the_same_in_the_vocabulary_of_any_family(name: str) -> None:
    tokenizer = FOREIGN[name]()
    if name == "characters":  # no spaces, so a phrase counts anywhere
        phrases = [Hotword("\u65e5\u672c", 2.0), Hotword("\u672c\u8a9e", 3.0), Hotword("\u6771", 0.5)]
        text = "\u65e5\u672c\u8a9e\u6771\u4eac\u65e5\u672c"
        expected = 2 * 2.0 + 3.0 + 0.5
    else:
        phrases = [Hotword("THE HAT", 3.0), Hotword("HAT", 2.0), Hotword("T", 0.5), Hotword("HEAT THE", 1.0)]
        text = "HEAT THE HATS THE HAT T THE TEA"
        expected = deserved(text, phrases)
    tokens = tokenizer.encode(text)
    assert earned(phrases, tokenizer, tokens) == pytest.approx(expected, abs=1e-9)
    control = next(iter(tokenizer.vocabulary.control - {tokenizer.vocabulary.unk, tokenizer.vocabulary.end}), None)
    if control is not None:  # a language or a timestamp inside a word writes nothing
        assert earned(phrases, tokenizer, [*tokens[:2], control, *tokens[2:]]) == pytest.approx(expected, abs=1e-9)


def test_rows_do_not_disturb_each_other() -> None:
    scorer = HotwordScorer(PHRASES, SUBWORDS)
    state = scorer.init_state(3, torch.device("cpu"))
    _, state = scorer.step(torch.full((3,), SUBWORDS.vocabulary.start), state)
    together, after = scorer.step(torch.tensor([5, 8, 11]), state)
    for row, token in enumerate([5, 8, 11]):
        alone, _ = scorer.step(torch.tensor([token]), scorer.reorder(state, torch.tensor([row])))
        torch.testing.assert_close(alone[0], together[row])
    joined = scorer.concat(scorer.reorder(after, torch.tensor([2])), scorer.reorder(after, torch.tensor([0, 1])))
    torch.testing.assert_close(joined, after[torch.tensor([2, 0, 1])])


def test_boosts_are_read_from_text_and_files(tmp_path: Path) -> None:
    assert parse_hotword("rubout") == Hotword("rubout", DEFAULT_BOOST)
    assert parse_hotword("new  york:2.5") == Hotword("new york", 2.5)
    file = tmp_path / "hot.txt"
    file.write_text("# names\nanna:3\n\nnew york\n", encoding="utf-8")
    assert read_hotwords(file) == [Hotword("anna", 3.0), Hotword("new york", DEFAULT_BOOST)]


@pytest.mark.parametrize(
    ("text", "phrase", "boost"),
    [
        ("3:30", "3:30", DEFAULT_BOOST),
        ("at 10:30", "at 10:30", DEFAULT_BOOST),
        ("3:30:2.5", "3:30", 2.5),
        ("gate 3:4.0", "gate 3", 4.0),
        ("john 3:16", "john 3:16", DEFAULT_BOOST),
        ("anna:-3", "anna", -3.0),
        ("anna:1e1", "anna", 10.0),
        ("dune: part two", "dune: part two", DEFAULT_BOOST),
        ("dune: part two:6", "dune: part two", 6.0),
    ],
)
def test_a_number_behind_a_colon_is_a_boost_unless_it_is_part_of_a_time(text: str, phrase: str, boost: float) -> None:
    assert parse_hotword(text) == Hotword(phrase, boost)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_how_a_list_was_saved_does_not_matter(encoding: str, line_end: str, tmp_path: Path) -> None:
    file = tmp_path / "hot.txt"
    file.write_bytes(line_end.join(["jos\u00e9:3", "new york", ""]).encode(encoding))
    assert read_hotwords(file) == [Hotword("jos\u00e9", 3.0), Hotword("new york", DEFAULT_BOOST)]


@pytest.mark.parametrize("text", ["word:loud", ":3", "", "word:nan"])
def test_a_hotword_that_is_none_is_refused_and_in_a_list_left_out_and_named(text: str, tmp_path: Path) -> None:
    file = tmp_path / "hot.txt"
    file.write_text(f"fine\n{text}x" if text == "" else f"fine\n{text}", encoding="utf-8")
    with pytest.raises(ConfigError, match="hotword"):
        parse_hotword(text)
    if text:
        with pytest.warns(UserWarning, match=r"hot\.txt:2: left out: hotword "):
            assert read_hotwords(file) == [Hotword("fine")]


def test_what_the_model_cannot_write_is_left_out_and_named() -> None:
    tokenizer = train_tokenizer(TOKENIZERS.config("char")(), ["ABC BA"])
    assert normalized_hotwords([Hotword("AB"), Hotword("AB", 1.0)], "none", tokenizer) == [Hotword("AB", 1.0)]
    with pytest.warns(UserWarning, match=r"left out: 'A\u00c9 B' \('\u00c9'\), '3:30' \('3:0'\); "):
        kept = normalized_hotwords([Hotword("A\u00c9 B"), Hotword("AB"), Hotword("3:30")], "none", tokenizer)
    assert kept == [Hotword("AB")]
    with pytest.warns(UserWarning, match="left out: '--';"):
        assert normalized_hotwords([Hotword("--")], "basic", tokenizer) == []
    words = train_tokenizer(TOKENIZERS.config("word")(), ["AB BA"])
    with pytest.warns(UserWarning, match=r"'AA' \('AA'\)"):
        assert normalized_hotwords([Hotword("AA"), Hotword("BA")], "none", words) == [Hotword("BA")]


@pytest.mark.parametrize(
    ("texts", "given", "written"),
    [
        ("KAREN JOSE", "Karen", "KAREN"),
        ("karen jose", "Karen Jose", "karen jose"),
        ("Karen KAREN karen", "Karen", "Karen"),
        ("KAREN", "Karla", "KARLA"),  # "L" alone is unknown
    ],
)
def test_a_hotword_takes_the_case_that_the_model_writes(texts: str, given: str, written: str) -> None:
    tokenizer = train_tokenizer(TOKENIZERS.config("char")(), [texts])
    assert in_case_of(tokenizer, Hotword(given, 2.0)) == Hotword(written, 2.0)
