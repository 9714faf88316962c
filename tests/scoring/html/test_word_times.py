"""Times of words in files of hypotheses."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.errors import ScoringError
from asr.scoring.html.word_times import read_word_times
from asr.scoring.texts import open_texts
from asr.types import Word

WORDS = [{"start": 0.5, "end": 1.0, "text": "b", "confidence": 0.25}, {"start": 0, "end": 0.5, "text": "a"}]
READ = (Word(0.0, 0.5, "a"), Word(0.5, 1.0, "b", 0.25))


def read(tmp_path, name, content, ids=("u", "v-2")):
    (tmp_path / name).write_text(content, encoding="utf-8")
    return read_word_times(open_texts(tmp_path / name)[0], ids)


def test_a_ctm_gives_start_and_duration(tmp_path):
    content = ";; comment\nu A 0.5 0.5 b 0.25\nu A 0 0.5 a\nw 1 0 1 x\nv 2 1 1 c\n"
    assert read(tmp_path, "h.ctm", content) == {"u": READ, "v-2": (Word(1.0, 2.0, "c"),)}


@pytest.mark.parametrize("row", [{"words": WORDS}, {"segments": [{"words": [word]} for word in WORDS]}])
def test_jsonl_has_words_or_segments_with_words(tmp_path, row):
    lines = [{"id": "u", "text": "a b", **row}, {"id": "w", "text": "c", "words": "of no concern"}]
    assert read(tmp_path, "h.jsonl", "\n".join(map(json.dumps, lines))) == {"u": READ}


def test_texts_without_times_have_none(tmp_path):
    assert read(tmp_path, "h.jsonl", '{"id": "u", "text": "a"}\n') == {}
    assert read(tmp_path, "h.trn", "a (u)\n") == {}


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["start", "end", "text", "words", "confidence"]), inner, max_size=4)
    ),
    max_leaves=8,
)


@settings(max_examples=50)
@given(words=json_values, segments=json_values)
def test_whatever_words_are_they_are_read_or_refused_in_one_line(tmp_path_factory, words, segments):
    folder = tmp_path_factory.mktemp("times")
    row = json.dumps({"id": "u", "text": "a", "words": words, "segments": segments})
    found, complaint = {}, f"{folder}/h.jsonl:1: "
    try:
        found = read(folder, "h.jsonl", row + "\n")
    except ScoringError as error:
        complaint = str(error)
    assert complaint.startswith(f"{folder}/h.jsonl:1: ")
    json.dumps([(word.start, word.end, word.confidence) for word in found.get("u", ())], allow_nan=False)


def test_a_confidence_that_is_no_number_is_named_with_its_line(tmp_path):
    with pytest.raises(ScoringError, match=r"h.ctm:1: the confidence 'sure' is not a number"):
        read(tmp_path, "h.ctm", "u 1 0 1 a sure\n")
