"""Byte-level pieces as GPT-2 and Whisper have them."""

from __future__ import annotations

import itertools
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.errors import BundleError, TextError
from asr.text.tokenizer import load_tokenizer, train_tokenizer
from asr.text.tokenizer.byte_bpe import BYTE_LETTERS, ByteBpeConfig, ByteBpeTokenizer, whisper_vocabulary
from asr.text.tokenizer.word_breaks import joined as joined_text

CONTROL = ("<|endoftext|>", "<|startoftranscript|>", "<|notimestamps|>", "<|0.00|>")
LETTERS = tuple(sorted(BYTE_LETTERS, key=lambda letter: (ord(letter) > 255, letter)))
MERGED = ("\u0120t", "he", "\u0120the", "re", "\u0120a")
TOKENIZER = ByteBpeTokenizer(whisper_vocabulary((*LETTERS, *MERGED, *CONTROL)))


def joined(word: str) -> list[str]:
    """The pieces of a word: again and again the two neighbours whose union comes first in the list are joined."""
    pieces = [BYTE_LETTERS[byte] for byte in word.encode()]
    while True:
        unions = [(MERGED.index(a + b), i) for i, (a, b) in enumerate(itertools.pairwise(pieces)) if a + b in MERGED]
        if not unions:
            return pieces
        place = min(unions)[1]
        pieces[place : place + 2] = [pieces[place] + pieces[place + 1]]


@given(st.lists(st.text(st.sampled_from("threa\u00e9\u65e5"), min_size=1, max_size=8), max_size=6))
def test_words_are_joined_in_the_order_of_the_pieces(words):
    pieces = [TOKENIZER.vocabulary.piece(token) for token in TOKENIZER.encode(" ".join(words))]
    assert pieces == [piece for word in words for piece in joined(f" {word}")]


@given(st.text(st.characters(exclude_categories=("Cs",))))
def test_any_text_comes_back_with_case_and_punctuation(text):
    assert TOKENIZER.decode(TOKENIZER.encode(text)).split() == text.replace("\u2581", " ").split()


def test_punctuation_belongs_to_the_word_before_it():
    tokens = TOKENIZER.encode("There, there! It's 3 a.m.")
    assert [word.text for word in TOKENIZER.words(tokens)] == ["There,", "there!", "It's", "3", "a.m."]


def test_control_ids_write_nothing():
    tokens = TOKENIZER.encode("the rat")
    for control in sorted(TOKENIZER.vocabulary.control):
        assert TOKENIZER.decode([control, *tokens[:2], control, *tokens[2:]]) == "the rat"


def test_a_saved_tokenizer_is_the_same_and_a_damaged_one_is_named(tmp_path: Path):
    TOKENIZER.save(tmp_path)
    loaded = load_tokenizer(tmp_path, ByteBpeConfig())
    assert loaded.vocabulary == TOKENIZER.vocabulary
    assert loaded.digest == TOKENIZER.digest
    model = (tmp_path / "tokenizer.model").read_bytes()
    for damaged in (b"", b"\0" * 99, pickle.dumps({}), model[:-9], b"[]", b"{}"):
        (tmp_path / "tokenizer.model").write_bytes(damaged)
        with pytest.raises(BundleError, match=r"tokenizer\.model: "):
            load_tokenizer(tmp_path, ByteBpeConfig())
    (tmp_path / "tokenizer.model").write_bytes(model)
    (tmp_path / "tokens.txt").write_text("! 0\n")
    with pytest.raises(BundleError, match=r"tokens\.txt"):
        load_tokenizer(tmp_path, ByteBpeConfig())


def test_it_cannot_be_trained_and_needs_every_byte():
    with pytest.raises(TextError, match="cannot be trained; use bpe"):
        train_tokenizer(ByteBpeConfig(), ["a text"])
    with pytest.raises(TextError, match="no piece writes byte 33 alone"):
        ByteBpeTokenizer(whisper_vocabulary((*LETTERS[1:], *CONTROL)))
    with pytest.raises(TextError, match=r"no piece <.startoftranscript.>"):
        whisper_vocabulary(LETTERS)


def spans_of(text: str) -> list[tuple[str, int, int]]:
    return [(word.text, word.start, word.stop) for word in TOKENIZER.words(TOKENIZER.encode(text))]


def test_characters_are_the_words_of_scripts_without_spaces():
    texts = [
        ("\u4f60\u597d\uff0c\u4e16\u754c\u3002", ["\u4f60", "\u597d\uff0c", "\u4e16", "\u754c\u3002"]),
        ("\u300c\u306f\u3044\u300d\u3068", ["\u300c\u306f", "\u3044\u300d", "\u3068"]),
        ("\u7528ChatGPT\u51993\u904d", ["\u7528", "ChatGPT", "\u5199", "3", "\u904d"]),
        ("\u0e19\u0e49\u0e33", ["\u0e19\u0e49", "\u0e33"]),  # an accent stays with its letter
        ("\ud55c\uad6d\uc5b4 \ub9d0", ["\ud55c\uad6d\uc5b4", "\ub9d0"]),  # Korean has spaces
    ]
    for text, expected in texts:
        words = TOKENIZER.words(TOKENIZER.encode(text))
        assert [word.text for word in words] == expected
        assert joined_text(words) == text


def test_the_text_of_words_keeps_the_spaces_there_are_and_adds_none():
    for text in ("\u7528 ChatGPT \u5199", "\u65e5\u672c", "There, there \u2013 a re\u2026", "\u2013 the a", "\u2026"):
        assert joined_text(TOKENIZER.words(TOKENIZER.encode(text))) == text


def test_a_dash_between_spaces_goes_with_the_word_before_it_and_a_sign_that_is_read_is_a_word():
    assert [word for word, _, _ in spans_of("the \u2013 re & 5 % a")] == ["the \u2013", "re", "&", "5", "%", "a"]
    assert [word for word, _, _ in spans_of("\u2013 the re")] == ["\u2013 the", "re"]


@given(st.lists(st.text(st.sampled_from("the\u65e5\u672c\u3002,\u2013 "), max_size=6), max_size=5))
def test_words_of_any_script_lie_in_order_in_their_tokens(parts):
    tokens = TOKENIZER.encode(" ".join(parts))
    words = TOKENIZER.words(tokens)
    assert joined_text(words) == TOKENIZER.decode(tokens)
    assert [word.start for word in words] == sorted(word.start for word in words)
    assert all(0 <= word.start < word.stop <= len(tokens) for word in words)
