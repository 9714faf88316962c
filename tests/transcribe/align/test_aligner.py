"""Aligning a known text: every word as written has its time, and what was not spoken is named."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asr.bundle.bundle import Bundle
from asr.errors import ConfigError, TextError
from asr.models.encoders.conformer import ConformerConfig
from asr.transcribe.align.aligner import Aligner, Alignment, Unspoken, by_words
from asr.transcribe.align.script import ANYTHING, ScriptLine, lay_out, read_script, script_line
from asr.types import MAIN_TOKENIZER, Segment
from tests.conftest import melody
from tests.foreign_vocabularies import FOREIGN
from tests.tiny_models import tiny_model

SECONDS = 8.0
PLACES = {"one": 1.0, "two": 2.0, "three": 3.0, "four five": 5.0, "six": 6.5}


@pytest.fixture(scope="module")
def bundle(tiny_workspace: Path) -> Bundle:
    return Bundle.load(tiny_workspace / "model")


@pytest.fixture
def spoken(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """A recording in which the model finds the words of PLACES there, a token every encoder frame."""
    waveform = np.full(round(SECONDS * 16000), 1e-4, dtype=np.float32)
    frames = int(bundle.model.output_lens(bundle.frontend.output_lens(torch.tensor([len(waveform)]))))
    posteriors = torch.full((frames, bundle.tokenizer.vocab_size), 1e-3)
    blank = bundle.tokenizer.vocabulary.blank
    posteriors[:, blank] = 1.0
    for text, start in PLACES.items():
        frame = round(start / 0.04)
        for token in bundle.tokenizer.encode(text):
            posteriors[frame, [blank, token]] = torch.tensor([1e-3, 1.0])
            frame += 8 if token in bundle.tokenizer.separator else 2
        waveform[round((start - 0.03) * 16000) : round(frame * 0.04 * 16000)] = 0.3
    log_probs = (posteriors / posteriors.sum(-1, keepdim=True)).log()
    monkeypatch.setattr(bundle.model.heads["ctc"], "log_probs", lambda _encoded: log_probs[None])
    return waveform


def lines_of(bundle: Bundle, *texts: str) -> list[ScriptLine]:
    return [script_line(number, text, bundle) for number, text in enumerate(texts, start=1)]


def align(bundle: Bundle, waveform: np.ndarray, *texts: str) -> Alignment:
    return Aligner(bundle).align_waveform(waveform, lines_of(bundle, *texts))


def starts(aligned: Alignment) -> dict[str, float]:
    return {word.text: word.start for segment in aligned.transcript.segments for word in segment.words}


def test_every_word_is_found_where_it_is_said(bundle: Bundle, spoken: np.ndarray) -> None:
    aligned = align(bundle, spoken, "one", "two", "three", "four five", "six")
    assert aligned.unspoken == ()
    assert [segment.text for segment in aligned.transcript.segments] == ["one", "two", "three", "four five", "six"]
    found = starts(aligned)
    assert {word: found[word.split()[0]] for word in PLACES} == pytest.approx(PLACES, abs=0.05)
    moments = [
        moment for segment in aligned.transcript.segments for word in segment.words for moment in (word.start, word.end)
    ]
    assert [0.0, *moments, SECONDS] == sorted([0.0, *moments, SECONDS])


def test_a_line_that_was_not_said_is_named_and_harms_no_other(bundle: Bundle, spoken: np.ndarray) -> None:
    aligned = align(bundle, spoken, "one", "two", "seven nine three", "three", "four five", "six")
    assert aligned.unspoken == (Unspoken(3, "seven nine three", True),)
    assert [segment.confidence == 0.0 for segment in aligned.transcript.segments] == [False, False, True, *[False] * 3]
    found = {segment.text: segment.start for segment in aligned.transcript.segments}
    assert {word: found[word] for word in PLACES} == pytest.approx(PLACES, abs=0.05)
    ends = [(segment.start, segment.end) for segment in aligned.transcript.segments]
    assert all(one[1] <= other[0] + 1e-9 for one, other in itertools.pairwise(ends))


def test_a_text_of_which_nothing_was_said_is_named(bundle: Bundle, spoken: np.ndarray) -> None:
    aligned = align(bundle, spoken, "zero eight zero eight")
    assert aligned.unspoken == (Unspoken(1, "zero eight zero eight", True),)


def test_a_word_that_was_not_said_is_named(bundle: Bundle, spoken: np.ndarray) -> None:
    aligned = align(bundle, spoken, "one", "two", "three", "four zero five", "six")
    assert aligned.unspoken == (Unspoken(4, "zero", False),)


@pytest.mark.parametrize("kept", [("two", "four five"), ("six",), ("one", "six")])
def test_speech_that_is_not_in_the_text_is_passed_over(bundle: Bundle, spoken: np.ndarray, kept: Sequence[str]) -> None:
    aligned = align(bundle, spoken, *kept)
    assert aligned.unspoken == ()
    for text, segment in zip(kept, aligned.transcript.segments, strict=True):
        assert segment.start == pytest.approx(PLACES[text], abs=0.05)
        assert segment.end - segment.start < 1.1  # no word lasts into what follows


@pytest.mark.parametrize("numeral", ["2", "ß", "22"])
def test_numerals_and_unknown_characters_have_their_stretch(bundle: Bundle, spoken: np.ndarray, numeral: str) -> None:
    aligned = align(bundle, spoken, "one", f"{numeral}", "three", "four five", "six")
    assert aligned.unspoken == ()
    assert starts(aligned)[numeral] == pytest.approx(2.0, abs=0.1)


def test_words_are_written_as_in_the_text_and_aligned_as_in_training(bundle: Bundle) -> None:
    basic = replace(bundle, spec=bundle.spec.model_copy(update={"normalize": "basic"}))
    line = script_line(7, "\u201c ONE, -- two-six! 3.5", basic)
    assert [word.text for word in line.words] == ["\u201c ONE, --", "two-six!", "3.5"]
    assert [bundle.tokenizer.decode(word.tokens) for word in line.words[:2]] == ["one", "two six"]
    assert set(line.words[2].tokens) == {ANYTHING, *bundle.tokenizer.separator}


def test_letters_take_the_case_the_model_knows(bundle: Bundle) -> None:
    assert script_line(1, "One TWO", bundle).words[1].tokens == script_line(1, "two", bundle).words[0].tokens


def test_the_tokens_of_a_line_are_those_of_its_text_between_wildcards(bundle: Bundle) -> None:
    any_token = 99
    layout = lay_out(lines_of(bundle, "one two", "six"), bundle.tokenizer.separator, any_token)
    one_two, six = bundle.tokenizer.encode("one two"), bundle.tokenizer.encode("six")
    assert layout.tokens == (any_token, *one_two, any_token, *six, any_token)
    assert [layout.tokens[place] for place in layout.wildcards] == [any_token] * 3
    for text, (start, stop) in zip(("one", "two", "six"), itertools.chain(*layout.words), strict=True):
        assert bundle.tokenizer.decode(layout.tokens[start:stop]) == text


def test_lines_without_words_are_passed_over_and_the_others_keep_their_numbers(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("\ufeffone\r\n\n  \ntwo three\n", encoding="utf-8")
    assert [(line.number, line.text) for line in read_script(tmp_path / "text.txt", bundle)] == [
        (1, "one"),
        (4, "two three"),
    ]


@pytest.mark.parametrize(("content", "complaint"), [(b"\n \n", "no words"), (b"\xff\xfe\xff", "UTF-8"), (None, "read")])
def test_a_text_that_cannot_be_used_is_refused(
    bundle: Bundle, tmp_path: Path, content: bytes | None, complaint: str
) -> None:
    if content is not None:
        (tmp_path / "text.txt").write_bytes(content)
    with pytest.raises(TextError, match=complaint):
        read_script(tmp_path / "text.txt", bundle)


@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.3, SECONDS])
def test_lines_for_which_the_recording_is_too_short_are_named(
    bundle: Bundle, spoken: np.ndarray, seconds: float
) -> None:
    book = [f"{digit} " * 400 for digit in ("zero", "eight", "nine")]
    if seconds == SECONDS:  # long enough for some
        aligned = align(bundle, spoken, "one", "two", *book, "three", "four five", "six")
        assert [one.line for one in aligned.unspoken] == [3, 4, 5]
        assert starts(aligned)["three"] == pytest.approx(PLACES["three"], abs=0.05)
        return
    waveform = melody(0, seconds)
    aligned = Aligner(bundle).align_waveform(waveform, lines_of(bundle, *book))
    assert [(one.line, one.whole) for one in aligned.unspoken] == [(1, True), (2, True), (3, True)]
    assert [segment.text for segment in aligned.transcript.segments] == [line.strip() for line in book]
    assert all(0.0 <= segment.start <= segment.end <= seconds for segment in aligned.transcript.segments)


@pytest.mark.parametrize(
    "mark", ["\u2014", "...", "!", "***", "?", "---", "=====", "\u266a", "\u201d", "#", "- -", "\u2026!?"]
)
def test_marks_take_no_time(bundle: Bundle, spoken: np.ndarray, mark: str) -> None:
    plain = align(bundle, spoken, "one", "two", "three", "four five", "six").transcript
    lines = lines_of(
        bundle, mark, "one", mark, f"{mark} two", f"three {mark}", f"four {mark} five", f"{mark}six{mark}", mark
    )
    marked = Aligner(bundle).align_waveform(spoken, [line for line in lines if line.words])
    assert marked.unspoken == ()
    assert [word_times(segment) for segment in marked.transcript.segments] == [
        word_times(segment) for segment in plain.segments
    ]


def word_times(segment: Segment) -> list[tuple[float, float]]:
    return [(word.start, word.end) for word in segment.words]


def test_marks_inside_a_word_separate_and_apostrophes_join(bundle: Bundle) -> None:
    def tokens(text: str) -> list[tuple[int, ...]]:
        return [word.tokens for word in script_line(1, text, bundle).words]

    assert tokens("two-six") == [tuple(bundle.tokenizer.encode("two six"))]
    assert tokens("t\u2019wo") == tokens("two")
    assert tokens("\u201ctwo,\u201d") == tokens("two")
    (percent,) = tokens("%")  # has a name, which may be anything
    assert percent == (ANYTHING,)


def test_a_model_without_ctc_cannot_align(bundle: Bundle) -> None:
    model = tiny_model("lstm", num_features=80, vocab_size=20, encoder=ConformerConfig())
    with pytest.raises(ConfigError, match="CTC head"):
        Aligner(replace(bundle, model=model))


MARKS = ["\u2014 ... !", "***", "?", "", " \t", "\u266a", "\u00ab", "- - -", "\ufeff", "\u200b"]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_how_a_text_is_written_changes_no_time(bundle: Bundle, spoken: np.ndarray, data: st.DataObject) -> None:
    plain = align(bundle, spoken, *PLACES).transcript
    texts: list[str] = []
    for place in PLACES:
        texts += data.draw(st.lists(st.sampled_from(MARKS), max_size=2))
        words = [data.draw(st.sampled_from([str.upper, str.title, str]))(word) for word in place.split()]
        texts.append(data.draw(st.sampled_from([" ", "  ", "\u00a0", ", ", " -- ", " \u2026 "])).join(words))
    lines = [line for line in lines_of(bundle, *texts) if line.words]
    aligned = Aligner(bundle).align_waveform(spoken, lines)
    assert aligned.unspoken == ()
    assert [word_times(segment) for segment in aligned.transcript.segments] == [
        word_times(segment) for segment in plain.segments
    ]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_text_has_its_lines_in_order_and_names_those_not_spoken(
    bundle: Bundle, spoken: np.ndarray, data: st.DataObject
) -> None:
    long = st.sampled_from(["zero eight ", "3.5% "]).map(lambda word: word * 60)
    some = st.one_of(st.sampled_from([*PLACES, *MARKS]), st.text(max_size=12), long)
    texts = data.draw(st.permutations([*PLACES, *data.draw(st.lists(some, max_size=6))]))
    texts = texts[: data.draw(st.integers(1, len(texts)))]
    lines = [line for line in lines_of(bundle, *texts) if line.words]
    aligned = Aligner(bundle).align_waveform(spoken, lines)
    segments = aligned.transcript.segments
    assert [segment.text for segment in segments] == [line.text for line in lines]
    moments = [moment for segment in segments for word in segment.words for moment in (word.start, word.end)]
    assert [0.0, *moments, SECONDS] == sorted([0.0, *moments, SECONDS])
    assert all(0.0 <= word.confidence <= 1.0 for segment in segments for word in segment.words)
    assert {one.line for one in aligned.unspoken} <= {line.number for line in lines}


@pytest.mark.parametrize("name", FOREIGN)
def test_words_are_spelled_in_the_tokens_of_any_family(bundle: Bundle, name: str) -> None:
    tokenizer = FOREIGN[name]()
    text = "\u65e5\u672c\u3002" if name == "characters" else "\u201cThe, \u2014 HEAT!\u201d"
    words = script_line(1, text, replace(bundle, tokenizers={MAIN_TOKENIZER: tokenizer})).words
    assert " ".join(word.text for word in words) == text
    plain = ["\u65e5\u672c"] if name == "characters" else ["THE", "HEAT"]
    if name == "whisper":  # which writes small letters and marks, too
        assert [tokenizer.decode(word.tokens) for word in words] == ["\u201cThe,", "HEAT!\u201d"]
    else:
        assert [word.tokens for word in words] == [tuple(tokenizer.encode(word)) for word in plain]
    (unknown,) = script_line(1, "\u0141\u0141", replace(bundle, tokenizers={MAIN_TOKENIZER: tokenizer})).words
    assert name == "whisper" or set(unknown.tokens) == {ANYTHING}


def test_by_words_makes_a_segment_of_every_word(bundle: Bundle, spoken: np.ndarray) -> None:
    transcript = align(bundle, spoken, "one", "four five").transcript
    words = [word for segment in transcript.segments for word in segment.words]
    assert [(segment.text, segment.words) for segment in by_words(transcript).segments] == [
        (word.text, (word,)) for word in words
    ]
