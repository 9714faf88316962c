"""Where utterances of a stream begin and end, with a detector that takes loud for speech and a decoder that counts."""

from __future__ import annotations

import numpy as np
import pytest

from asr.errors import ConfigError
from asr.transcribe.events import Partial, SegmentReady, SpeechStarted, SpeechStopped
from asr.transcribe.streaming.session import advance_sessions
from asr.transcribe.streaming.settings import Turns, streaming_config
from tests.transcribe.streaming.tools import RATE, Counter, run, session_of, sound


def test_an_utterance_begins_before_its_first_sound_and_ends_half_a_second_after_its_last() -> None:
    decoder = Counter()
    session = session_of(decoder)
    ends = run(decoder, session, sound(1.0, 2.1, 3.0, 1.1, 2.0))
    first, second = decoder.utterances
    assert first.first == pytest.approx((1.0 - 0.5) * RATE, abs=600)
    assert second.first == pytest.approx((6.1 - 0.5) * RATE, abs=600)
    assert ends == [pytest.approx(3.6, abs=0.12), pytest.approx(7.7, abs=0.12)]
    assert first.ended_with == pytest.approx(0.3, abs=0.04)
    assert len(first.samples) == pytest.approx((0.5 + 2.1 + 0.3) * RATE, abs=600)
    assert [segment.text for segment in session.segments] == ["word word", "word"]


def test_the_events_are_growing_words_then_the_segment() -> None:
    decoder = Counter()
    session = session_of(decoder)
    run(decoder, session, sound(0.5, 2.2, 1.0))
    events = session.take_events()
    assert [type(event) for event in events] == [Partial, Partial, SegmentReady]
    texts = [event.segment.text for event in events if isinstance(event, Partial | SegmentReady)]
    assert texts == ["word", "word word", "word word"]
    assert session.take_events() == []


def test_a_stream_may_have_turns_of_its_own_and_be_told_of_them() -> None:
    decoder = Counter()
    session = session_of(decoder, turns=Turns(silence_after_text=1.5, pre_roll=0.2))
    run(decoder, session, sound(1.0, 2.1, 1.0, 1.1, 3.0))
    (one,) = decoder.utterances  # a second of silence does not end it
    events = session.take_events()
    assert [type(event) for event in events if not isinstance(event, Partial)] == [
        SpeechStarted,
        SpeechStopped,
        SegmentReady,
    ]
    assert one.first == pytest.approx((1.0 - 0.2) * RATE, abs=600)
    assert events[0] == SpeechStarted(one.first / RATE)
    (stopped,) = [event for event in events if isinstance(event, SpeechStopped)]
    assert stopped.seconds == pytest.approx(5.2, abs=0.1)


def test_all_speech_is_in_some_utterance_and_none_is_in_two() -> None:
    decoder = Counter()
    waveform = sound(0.3, 1.5, 0.4, 0.7, 0.9, 1.2, 3.0, 2.0, 0.2)
    run(decoder, session_of(decoder), waveform)
    assert len(decoder.utterances) == 3
    covered = np.zeros(len(waveform), int)
    for one in decoder.utterances:
        stop = one.first + len(one.samples)
        assert np.array_equal(one.samples, waveform[one.first : stop])
        covered[one.first : stop] += 1
    assert covered.max() == 1
    assert covered[waveform > 0.1].min() == 1


def test_a_short_pause_belongs_to_its_utterance_and_silence_at_its_end_does_not() -> None:
    decoder = Counter()
    waveform = sound(0.6, 1.2, 0.45, 1.2, 2.0)
    run(decoder, session_of(decoder), waveform)
    (one,) = decoder.utterances
    assert np.array_equal(one.samples, waveform[one.first :][: len(one.samples)])
    assert len(one.samples) == pytest.approx((0.5 + 1.2 + 0.45 + 1.2 + 0.3) * RATE, abs=700)


def test_speech_that_goes_on_too_long_ends_at_its_next_pause() -> None:
    decoder = Counter()
    session = session_of(decoder, endpoint={"max_utterance": 4.0})
    ends = run(decoder, session, sound(0.2, 4.3, 0.2, 3.0, 0.3))
    assert ends[0] == pytest.approx(4.7, abs=0.12)
    assert len(decoder.utterances) == 2


def test_speech_without_any_pause_is_cut_and_goes_on_in_the_next_utterance() -> None:
    decoder = Counter()
    waveform = sound(0.2, 12.0, 1.0)
    session = session_of(decoder, endpoint={"max_utterance": 4.0})
    run(decoder, session, waveform)
    assert len(decoder.utterances) == 3
    joined = np.concatenate([one.samples for one in decoder.utterances])
    assert np.array_equal(joined, waveform[decoder.utterances[0].first :][: len(joined)])
    assert (joined > 0.1).sum() == (waveform > 0.1).sum()


def test_a_decoder_may_say_what_silence_is() -> None:
    decoder = Counter()
    session = session_of(decoder, endpoint={"by": "decoder", "silence_before_text": 1.6, "silence_after_text": 0.7})
    ends = run(decoder, session, sound(3.5, 1.2, 2.0))
    assert [one.has_text for one in decoder.utterances] == [False, False, True, False]
    assert len(decoder.utterances[0].samples) == pytest.approx(1.6 * RATE, abs=0.1 * RATE)
    assert ends == [pytest.approx(5.4, abs=0.12)]


def test_without_a_detector_the_decoder_says_it() -> None:
    decoder = Counter()
    run(decoder, session_of(decoder, detector=False), sound(0.1, 1.2, 1.0))
    assert [one.has_text for one in decoder.utterances] == [True, False]


def test_the_end_of_the_stream_ends_its_utterance_with_all_samples() -> None:
    decoder = Counter()
    waveform = sound(0.4, 1.33)
    session = session_of(decoder)
    run(decoder, session, waveform)
    (one,) = decoder.utterances
    assert one.first + len(one.samples) == len(waveform) == session.num_samples
    assert one.ended_with == pytest.approx(0.0, abs=0.04)
    assert [segment.text for segment in session.segments] == ["word"]


@pytest.mark.parametrize(("seconds", "num_utterances"), [(1.2, 1), (2.0, 0)])
def test_a_short_recording_is_recognised_also_where_nothing_is_heard(seconds: float, num_utterances: int) -> None:
    decoder = Counter()
    session = session_of(decoder)
    run(decoder, session, sound(seconds), min_recording=1.5)
    assert len(decoder.utterances) == num_utterances
    assert session.has_speech == bool(num_utterances)


def test_hours_of_silence_hold_no_memory() -> None:
    decoder = Counter()
    session = session_of(decoder)
    run(decoder, session, sound(30.0))
    assert len(session._kept) < 2 * RATE
    assert not decoder.utterances


def test_sessions_of_any_ages_share_batches_and_each_is_as_alone() -> None:
    one, other = sound(0.4, 1.5, 1.0), sound(0.2, 0.5, 0.2, 1.5, 0.6)
    decoder, alone = Counter(), Counter()
    sessions = [session_of(decoder), session_of(decoder)]
    step = 1280
    for first in range(0, 5 * RATE, step):
        pairs = [
            (session, waveform[first : first + step], first + step >= len(waveform))
            for session, waveform in zip(sessions, (one, other), strict=True)
            if first < len(waveform)
        ]
        if pairs:
            advance_sessions(decoder, *zip(*pairs, strict=True))  # type: ignore[arg-type]
    expected = []
    for waveform in (one, other):
        session = session_of(alone)
        run(alone, session, waveform)
        expected.append(session.segments)
    assert [session.segments for session in sessions] == expected
    assert max(decoder.batches) == 2


def test_settings_are_strict() -> None:
    assert streaming_config(0.64, ["streaming.endpoint.silence_after_text=0.9"]).endpoint.silence_after_text == 0.9
    with pytest.raises(ConfigError, match="silence_after_text"):
        streaming_config(None, ["streaming.endpoint.silence_after_txt=0.9"])
