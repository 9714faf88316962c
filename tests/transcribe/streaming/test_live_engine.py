"""An engine for streams: its thread, its events, what callers may do wrong."""

from __future__ import annotations

import gc
import threading
from concurrent.futures import CancelledError

import numpy as np
import pytest

from asr import Recognizer
from asr.errors import AudioError, ConfigError
from asr.transcribe.events import Done, Failed, Partial, SegmentReady
from asr.transcribe.requests import RequestOptions
from asr.transcribe.segmentation import SegmentationConfig
from asr.transcribe.streaming.decoder import LiveDecoder, Update
from asr.transcribe.streaming.engine import LiveEngine, LiveStream
from asr.transcribe.streaming.settings import StreamingConfig
from tests.conftest import melody
from tests.transcribe.streaming.tools import PARTIALS, RATE, Counter, searchers_of, sound, tiny_bundle

EVERYTHING = SegmentationConfig(vad=None)


def engine_of(decoder: object) -> LiveEngine:
    assert decoder is not None
    as_decoder: LiveDecoder = decoder  # type: ignore[assignment]
    return LiveEngine(as_decoder, StreamingConfig(), EVERYTHING, RATE)


def pushed(stream: LiveStream, waveform: np.ndarray, size: int = 1600) -> LiveStream:
    for first in range(0, len(waveform), size):
        stream.push(waveform[first : first + size])
    stream.finish()
    return stream


def test_events_come_in_order_and_the_last_one_holds_all_segments() -> None:
    stream = pushed(engine_of(Counter()).open(PARTIALS), sound(0.2, 2.2, 1.0, 1.2, 0.2))
    *events, done = list(stream)
    assert isinstance(done, Done)
    assert done.seconds == pytest.approx(4.8)
    segments = tuple(event.segment for event in events if isinstance(event, SegmentReady))
    assert done.transcript.segments == segments
    assert done.transcript.text == "word word word"
    assert any(isinstance(event, Partial) for event in events)


def test_partials_are_only_for_those_who_ask() -> None:
    stream = pushed(engine_of(Counter()).open(RequestOptions()), sound(0.2, 2.2, 1.0))
    assert {type(event) for event in stream} == {SegmentReady, Done}


@pytest.mark.parametrize("size", [77, 1600, 40_000])
def test_the_pieces_of_a_stream_do_not_matter(size: int) -> None:
    waveform = sound(0.2, 2.2, 1.0, 1.2, 0.2)
    expected = pushed(engine_of(Counter()).open(PARTIALS), waveform).result()
    assert pushed(engine_of(Counter()).open(PARTIALS), waveform, size).result() == expected


def test_a_stream_of_another_rate_is_resampled() -> None:
    engine = engine_of(Counter())
    whole = pushed(engine.open(PARTIALS, sample_rate=2 * RATE), np.repeat(sound(0.2, 2.2, 1.0), 2))
    assert whole.result().text == "word word"


def test_many_streams_at_once_are_each_as_alone() -> None:
    engine, waveforms = engine_of(Counter()), [sound(0.1, 0.6 * number, 0.7, 1.2) for number in range(1, 6)]
    expected = [pushed(engine_of(Counter()).open(PARTIALS), one).result() for one in waveforms]
    streams = [engine.open(PARTIALS) for _ in waveforms]
    threads = [threading.Thread(target=pushed, args=pair) for pair in zip(streams, waveforms, strict=True)]
    for thread in threads:
        thread.start()
    assert [stream.result() for stream in streams] == expected
    for thread in threads:
        thread.join()


def test_a_stream_that_is_cancelled_or_let_go_disturbs_nobody() -> None:
    engine = engine_of(Counter())
    other, cancelled, dropped = (engine.open(PARTIALS) for _ in range(3))
    cancelled.push(sound(0.1, 1.0))
    dropped.push(sound(0.1, 1.0))
    cancelled.cancel()
    del dropped
    gc.collect()
    assert pushed(other, sound(0.2, 1.2, 1.0)).result().text == "word"
    *_, last = list(cancelled)
    assert isinstance(last, Failed)
    assert isinstance(last.error, CancelledError)


class Breaks(Counter):
    def advance(self, *_: object) -> list[Update]:  # type: ignore[override]
        raise ValueError("broken")


def test_what_goes_wrong_is_an_event() -> None:
    stream = pushed(engine_of(Breaks()).open(PARTIALS), sound(0.2, 1.0))
    with pytest.raises(ValueError, match="broken"):
        stream.result()


def test_samples_that_are_none_are_refused_at_once() -> None:
    stream = engine_of(Counter()).open(PARTIALS)
    with pytest.raises(AudioError):
        stream.push(np.full(100, np.nan, np.float32))
    with pytest.raises(AudioError):
        stream.push(np.zeros((10, 2), np.float32))
    stream.finish()
    with pytest.raises(AudioError, match="finished"):
        stream.push(sound(0.1))
    assert stream.result().text == ""


def test_a_closed_engine_fails_its_streams_and_takes_no_more() -> None:
    engine = engine_of(Counter())
    stream = engine.open(PARTIALS)
    stream.push(sound(0.1, 0.2))
    engine.close()
    with pytest.raises(RuntimeError, match="closed"):
        stream.result()
    with pytest.raises(RuntimeError, match="closed"):
        engine.open(PARTIALS)
    with pytest.raises(ConfigError, match="one channel"):
        engine_of(Counter()).open(RequestOptions(channel=1))


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    bundle = tiny_bundle()
    bundle.frontend.float()
    bundle.model.float()
    return Recognizer(bundle, searchers_of(bundle), device=bundle.backend.device, segmentation=EVERYTHING)  # type: ignore[attr-defined]


def test_a_recognizer_streams_blocks_and_its_engine_opens_streams_with_the_states_of_the_model(
    recognizer: Recognizer,
) -> None:
    waveform = melody(8, 3.0)
    events = list(recognizer.stream(waveform[first : first + 800] for first in range(0, len(waveform), 800)))
    done = events[-1]
    assert isinstance(done, Done)
    assert done.transcript.text
    assert all(word.confidence is not None for segment in done.transcript.segments for word in segment.words)
    opened = recognizer.engine.open(PARTIALS)
    assert isinstance(opened, LiveStream)
    assert pushed(opened, waveform, 12_345).result() == done.transcript
    again = recognizer.open_stream(config=StreamingConfig(chunk=0.64))
    assert pushed(again, waveform).result().segments


def test_options_that_cannot_be_followed_are_refused_when_a_stream_is_opened(recognizer: Recognizer) -> None:
    with pytest.raises(ConfigError):
        recognizer.open_stream(options=RequestOptions(language="de"))
