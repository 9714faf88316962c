"""Spans hold all speech, do not depend on how the audio arrives, and fit the model."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from asr.audio.vad import EnergyVadConfig
from asr.transcribe.segmentation import SegmentationConfig, Segmenter, Span

RATE = 16000


def noise(seconds: float, level: float = 0.1, seed: int = 0) -> np.ndarray:
    return (level * np.random.default_rng(seed).normal(size=round(seconds * RATE))).astype(np.float32)


def silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * RATE), dtype=np.float32)


def blocks_of(waveform: np.ndarray, size: int) -> Iterator[np.ndarray]:
    return (waveform[start : start + size] for start in range(0, len(waveform), size))


class Scripted:
    """A detector that knows where the speech is: in seconds, with its probability."""

    frame_seconds = 0.032

    def __init__(self, *speech: tuple[float, float, float]) -> None:
        self.speech = speech

    def stream(self) -> ScriptedStream:
        return ScriptedStream(self)


class ScriptedStream:
    def __init__(self, script: Scripted) -> None:
        self.script = script
        self.num_samples = self.num_frames = 0

    def push(self, samples: np.ndarray) -> np.ndarray:
        self.num_samples += len(samples)
        return self.frames(self.num_samples // 512)

    def finish(self) -> np.ndarray:
        return self.frames(-(-self.num_samples // 512))

    def frames(self, until: int) -> np.ndarray:
        moments = np.arange(self.num_frames, until) * 0.032 + 0.016
        self.num_frames = max(until, self.num_frames)
        found = np.zeros(len(moments), dtype=np.float32)
        for start, end, probability in self.script.speech:
            found[(moments >= start) & (moments < end)] = probability
        return found


def segmenter(*speech: tuple[float, float, float], **config: float) -> Segmenter:
    made = Segmenter(SegmentationConfig(vad=None, **config), RATE)  # type: ignore[arg-type]
    made._vad = Scripted(*speech)  # type: ignore[assignment]
    return made


def times(spans: list[Span]) -> list[tuple[float, float]]:
    return [(round(span.start, 2), round(span.end, 2)) for span in spans]


def test_speech_becomes_a_span_with_padding_around_it() -> None:
    (span,) = segmenter((3, 5, 1.0), padding=0.5).spans([noise(10)])
    assert (span.start, span.end) == pytest.approx((2.5, 5.5), abs=0.032)
    assert np.array_equal(span.waveform, noise(10)[span.first : span.first + len(span.waveform)])
    assert np.array(span.speech) / RATE == pytest.approx([3, 5], abs=0.032)


def test_padding_shares_a_pause_that_is_too_short_for_both() -> None:
    first, second = segmenter((1, 3, 1.0), (4, 6, 1.0), padding=1.0, min_pause=0.5).spans([noise(8)])
    assert first.end == second.start == pytest.approx(3.5, abs=0.032)
    assert (first.start, second.end) == pytest.approx((0, 7), abs=0.032)


def test_a_shorter_pause_lies_inside_a_span() -> None:
    assert len(list(segmenter((1, 3, 1.0), (3.4, 6, 1.0), min_pause=0.5).spans([noise(8)]))) == 1


def test_padding_ends_at_the_edges_of_the_recording() -> None:
    (span,) = segmenter((0, 2, 1.0)).spans([noise(2)])
    assert (span.first, len(span.waveform)) == (0, 2 * RATE)


def test_digital_silence_around_speech_is_left_out() -> None:
    (span,) = segmenter((1, 2, 1.0), padding=1.0).spans([np.concatenate([silence(0.9), noise(1.2), silence(3)])])
    assert (span.start, span.end) == pytest.approx((0.9, 2.1), abs=1e-4)


def test_an_utterance_gives_the_same_span_alone_and_between_digital_silence() -> None:
    speech = (0.2, 1.0, 1.0)
    alone = list(segmenter(speech).spans([noise(1.3)]))
    gap = 0.777
    moved = tuple(moment + gap for moment in speech[:2])
    between = list(segmenter((*moved, 1.0)).spans([np.concatenate([silence(gap), noise(1.3), silence(2)])]))
    assert [span.waveform.tolist() for span in between] == [span.waveform.tolist() for span in alone]


@pytest.mark.parametrize(
    ("speech", "why"), [((1, 3, 0.8), "never certain"), ((1, 1.1, 1.0), "too short"), ((1, 3, 0.0), "none")]
)
def test_what_is_not_speech_gives_no_span(speech: tuple[float, float, float], why: str) -> None:
    assert list(segmenter(speech).spans([noise(5)])) == [], why


def test_a_recording_too_short_to_be_judged_is_heard_whole() -> None:
    (span,) = segmenter().spans([noise(1.0)])
    assert len(span.waveform) == RATE
    assert list(segmenter().spans([noise(2.0)])) == []
    assert list(segmenter().spans([silence(1.0)])) == []


def test_speech_begins_where_the_sound_begins_that_becomes_certain() -> None:
    (span,) = segmenter((1, 2, 0.5), (2, 3, 1.0), padding=0).spans([noise(5)])
    assert span.start == pytest.approx(1, abs=0.032)


def test_a_long_span_is_cut_in_its_pauses() -> None:
    waveform = noise(30)
    for pause in (6.0, 14.0, 22.0):
        waveform[round(pause * RATE) : round((pause + 0.3) * RATE)] *= 0.01
    spans = list(segmenter((0, 30, 1.0), max_span=9.0).spans([waveform]))
    assert [span.start for span in spans] == pytest.approx([0, 6.15, 14.15, 22.15], abs=0.06)
    assert not any(span.continues for span in spans)
    assert all(before.end == after.start for before, after in pairwise(spans))


def test_spans_overlap_where_there_is_no_pause() -> None:
    spans = list(segmenter((0, 20, 1.0), max_span=8.0, overlap=2.0).spans([noise(20)]))
    assert times(spans) == [(0, 8), (6, 14), (12, 20), (18, 20)] or times(spans) == [(0, 8), (6, 14), (12, 20)]
    assert [span.continues for span in spans[:2]] == [True, True]


def test_a_pause_at_the_limit_leaves_no_span_of_silence_behind() -> None:
    spans = list(segmenter((0, 5.5, 1.0), max_span=6.0, padding=0.2).spans([noise(12)]))
    assert times(spans)[0][0] == 0
    assert sum(span.duration for span in spans) < 6.1


@settings(max_examples=40, deadline=None)
@given(
    speech=st.lists(st.tuples(st.floats(0, 12), st.floats(0.05, 6)), max_size=4),
    blocks=st.tuples(st.integers(100, 90_000), st.integers(100, 90_000)),
    padding=st.floats(0, 1.5),
    max_span=st.floats(1, 8),
)
def test_spans_are_in_order_fit_and_do_not_depend_on_the_blocks(
    speech: list[tuple[float, float]], blocks: tuple[int, int], padding: float, max_span: float
) -> None:
    waveform = noise(14)
    script = [(start, start + length, 1.0) for start, length in speech]
    make = segmenter(*script, padding=padding, max_span=max_span, overlap=0.25)
    spans = list(make.spans(blocks_of(waveform, blocks[0])))
    for span in spans:
        assert 0 < len(span.waveform) <= max_span * RATE + 1
        assert np.array_equal(span.waveform, waveform[span.first : span.first + len(span.waveform)])
    for before, after in pairwise(spans):
        assert after.start >= (before.end - 0.25 - 1e-6 if before.continues else before.end)
    again = list(make.spans(blocks_of(waveform, blocks[1])))
    assert [(span.first, len(span.waveform)) for span in again] == [(span.first, len(span.waveform)) for span in spans]


def test_all_speech_is_in_some_span() -> None:
    script = [(0.5, 1.5, 1.0), (3.0, 3.4, 1.0), (4.0, 9.0, 1.0), (12.0, 12.3, 1.0)]
    spans = list(segmenter(*script, max_span=3.0, overlap=0.5, padding=0.1).spans([noise(14)]))
    for start, end, _ in script:
        for moment in np.arange(start + 0.04, end - 0.04, 0.02):
            assert any(span.start <= moment <= span.end for span in spans)


def test_without_a_detector_everything_is_speech() -> None:
    (span,) = Segmenter(SegmentationConfig(vad=None), RATE).spans([noise(7)])
    assert len(span.waveform) == 7 * RATE


def test_an_hour_without_speech_is_not_kept_in_memory() -> None:
    stream = segmenter((0, 3600, 0.4)).stream()  # a sound that might become speech any moment
    for _ in range(100):
        assert stream.push(noise(1)) == []
    assert len(stream._cutter._samples) < 5 * RATE


@pytest.mark.parametrize("rate", [8000, 11025, 16000])
def test_the_energy_detector_finds_bursts_at_any_rate(rate: int) -> None:
    waveform = np.random.default_rng(0).normal(size=12 * rate).astype(np.float32) * 1e-4
    waveform[3 * rate : 5 * rate] *= 1000
    config = SegmentationConfig(vad=EnergyVadConfig(), padding=0.0)
    (span,) = Segmenter(config, rate).spans(blocks_of(waveform, 5000))
    assert (span.start, span.end) == pytest.approx((3, 5), abs=0.1)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [({"offset": 0.95}, "offset is above onset"), ({"overlap": 11.0}, "overlap"), ({"max_span": 0.5}, "max_span")],
)
def test_impossible_settings_are_refused(settings: dict[str, float], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        SegmentationConfig.model_validate(settings)
