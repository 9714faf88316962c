"""Speech without text is found, decoded again, and told where it stays so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.bundle.recognition import NOTHING, Decoded, DecodeOptions
from asr.bundle.words import PlacedWords
from asr.text.tokenizer import WordSpan
from asr.transcribe.coverage import cut_out, is_noise, still_uncovered, uncovered_speech, united, without
from asr.transcribe.recognizer import Recognizer
from asr.transcribe.requests import RequestOptions
from asr.transcribe.segmentation import Activity, Segmenter, Span, segmentation_config
from asr.types import Hypothesis, Segment, TokenSegment, Word
from tests.bundle.foreign.whisper_files import multilingual_model

RATE, FRAME = 16000, 0.1


def span(probabilities: list[float], start: float = 10.0) -> Span:
    """A span with a detector's frames of 0.1 s."""
    waveform = np.zeros(round(len(probabilities) * FRAME * RATE), dtype=np.float32)
    first = round(start * RATE)
    activity = Activity(start, FRAME, np.array(probabilities, dtype=np.float32))
    return Span(first, waveform, RATE, (first, first + len(waveform)), activity=activity)


def spoken(start: float, end: float) -> Segment:
    return Segment(start, end, "x")


def test_a_stretch_of_speech_without_a_segment_is_found_unless_it_is_short_or_doubtful() -> None:
    said = [0.95] * 50
    assert uncovered_speech(span(said), []) == [pytest.approx((10.0, 15.0))]
    assert uncovered_speech(span(said), [spoken(10.0, 12.0)]) == [pytest.approx((12.25, 15.0))]
    assert uncovered_speech(span(said), [spoken(10.1, 11.9), spoken(13.2, 15.0)]) == []  # 0.8 s between them
    assert uncovered_speech(span([0.7] * 50), []) == []
    assert uncovered_speech(span([0.0] * 20 + said + [0.1] * 9), [spoken(12.0, 16.9)]) == []
    assert uncovered_speech(Span(0, np.zeros(9), RATE, (0, 9)), []) == []


stretches = st.lists(
    st.tuples(st.integers(0, 30), st.integers(0, 30)).filter(lambda pair: pair[0] < pair[1]), max_size=5
)


@given(stretches, stretches)
def test_what_is_left_of_stretches_is_every_moment_that_is_not_covered(
    some: list[tuple[float, float]], covered: list[tuple[float, float]]
) -> None:
    def moments(pairs: list[tuple[float, float]]) -> set[int]:
        return {moment for start, end in pairs for moment in range(round(start), round(end))}

    assert moments(without(some, covered)) == moments(some) - moments(covered)
    assert moments(list(united(some))) == moments(some)
    ends = [moment for pair in united(some) for moment in pair]
    assert ends == sorted(set(ends))


def test_what_the_next_span_says_covers_the_end_of_the_one_before() -> None:
    assert still_uncovered([(10.0, 15.0)], [spoken(12.0, 15.0)]) == (pytest.approx((10.0, 11.75)),)
    assert still_uncovered([(10.0, 13.0), (12.0, 15.0)], []) == ((10.0, 15.0),)
    assert still_uncovered([(10.0, 13.0)], [spoken(10.5, 14.0)]) == ()


def test_noise_is_what_model_and_detector_both_take_for_it() -> None:
    def decoded(no_speech: float) -> Decoded:
        return Decoded([Hypothesis((1,), 0.0, measures={"no_speech": no_speech})], PlacedWords(()))

    doubtful, certain = (span([value] * 30).activity for value in (0.4, 0.99))
    assert is_noise(doubtful, decoded(0.95))
    assert not is_noise(certain, decoded(0.95))
    assert not is_noise(doubtful, decoded(0.01))
    assert not is_noise(None, decoded(0.95))


def test_where_no_detector_tells_speech_from_sounds_a_text_is_noise_that_the_model_doubts_twice() -> None:
    def decoded(no_speech: float, avg_logprob: float) -> Decoded:
        measures = {"no_speech": no_speech, "avg_logprob": avg_logprob}
        return Decoded([Hypothesis((1,), 0.0, measures=measures)], PlacedWords(()))

    loud = Activity(0.0, FRAME, np.ones(30, dtype=np.float32), tells_speech=False)
    for activity in (None, loud):
        assert is_noise(activity, decoded(0.95, -1.5))
        assert not is_noise(activity, decoded(0.95, -0.5))
        assert not is_noise(activity, decoded(0.3, -1.5))


@pytest.mark.parametrize(("vad", "tells"), [("silero", True), ("energy", False)])
def test_spans_say_whether_their_detector_tells_speech_from_other_sounds(vad: str, tells: bool) -> None:
    rng = np.random.default_rng(0)
    sound = rng.normal(size=2 * RATE) * np.repeat([0.001, 0.3, 0.001, 0.3], RATE // 2)
    config = segmentation_config(
        vad, None, ["segmentation.min_recording=3", "segmentation.onset=0.01", "segmentation.offset=0.01"]
    )
    spans = list(Segmenter(config, RATE).spans([sound.astype(np.float32)]))
    assert spans
    assert all(one.activity is not None and one.activity.tells_speech == tells for one in spans)


def test_a_part_of_a_span_is_where_it_was() -> None:
    part = cut_out(span([0.9] * 50), (12.0, 13.5))
    assert (part.start, part.end, part.speech) == (12.0, 13.5, (12 * RATE, round(13.5 * RATE)))


def test_speech_that_was_passed_over_is_decoded_again_and_told_where_it_stays_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    multilingual_model(tmp_path / "source", tmp_path / "model")
    recognizer = Recognizer.load(tmp_path / "model", device="cpu")
    asked: list[tuple[list[float], list[DecodeOptions]]] = []

    def says(words: str, start: float, end: float) -> Decoded:
        tokens = tuple(recognizer.bundle.tokenizer.encode(words))
        segments = (TokenSegment(0, len(tokens), round(start / 0.02), round(end / 0.02)),) if tokens else ()
        best = Hypothesis(tokens, 0.0, language="de", measures={"no_speech": 0.1}, segments=segments)
        return Decoded([best], PlacedWords(tuple(WordSpan(word, 0, 1) for word in words.split())))

    answers = iter([[says("he", 0.0, 2.0), says("", 0, 0)], [says("the", 0.5, 1.5), says("", 0, 0)]])

    def decode(_self: object, waveforms: list[np.ndarray], options: list[DecodeOptions]) -> list[Decoded]:
        asked.append(([len(waveform) / RATE for waveform in waveforms], list(options)))
        return next(answers)

    monkeypatch.setattr("asr.bundle.bundle.Bundle.decode", decode)
    first, second = recognizer.recognize([span([0.95] * 50), span([0.95] * 20, start=30.0)], [RequestOptions()] * 2)
    assert asked[1][0] == pytest.approx([2.75, 2.0])
    german = recognizer.bundle.tokenizer.vocabulary.id("<|de|>")
    assert all(one.prompt is not None and german in one.prompt for one in asked[1][1])
    assert [(one.text, one.start, one.end) for one in first.segments] == [
        ("he", 10.0, 12.0), ("the", pytest.approx(12.75), pytest.approx(13.75)),
    ]  # fmt: skip
    assert first.uncovered == (pytest.approx((14.0, 15.0)),)
    assert (second.segments, second.uncovered) == ((), (pytest.approx((30.0, 32.0)),))


def test_speech_left_out_for_its_confidence_was_not_passed_over_and_sounds_are_not_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    multilingual_model(tmp_path / "source", tmp_path / "model")
    recognizer = Recognizer.load(tmp_path / "model", device="cpu")
    best = Hypothesis((1,), 0.0, segments=(TokenSegment(0, 1, 0, 250),), measures={"no_speech": 0.1})
    word = PlacedWords((WordSpan("he", 0, 1),), confidences=(0.4,))
    answers = [
        [Decoded([best], word, (Word(0.0, 5.0, "he", 0.4),))],
        [Decoded([Hypothesis((), 0.0)], PlacedWords(()))] * 2,
        [NOTHING],
    ]

    def decode(_self: object, waveforms: list[np.ndarray], _options: list[DecodeOptions]) -> list[Decoded]:
        return answers.pop(0)[: len(waveforms)]

    monkeypatch.setattr("asr.bundle.bundle.Bundle.decode", decode)
    (unsure,) = recognizer.recognize([span([0.95] * 50)], [RequestOptions(min_confidence=0.9)])
    assert (unsure.segments, unsure.uncovered) == ((), ())
    assert len(answers) == 2  # nothing was decoded again
    loud = span([0.95] * 50)
    assert loud.activity is not None
    loud = replace(loud, activity=replace(loud.activity, tells_speech=False))
    (silent,) = recognizer.recognize([loud], [RequestOptions()])
    assert (silent.segments, silent.uncovered, answers) == ((), (), [])
