"""How late words appear and how many of them change, from what was shown when."""

from __future__ import annotations

import pytest

from asr.evaluate.latency import Latency, Shown, Spread, Timeline
from asr.types import Word

REFERENCE = (Word(0.5, 1.0, "one"), Word(1.2, 1.6, "two"), Word(2.0, 2.4, "three"))


def line(*shown: tuple[float, str, int]) -> Timeline:
    """Looks at their times, with so many final words."""
    return Timeline([Shown(time, tuple(text.split()), num_final) for time, text, num_final in shown], REFERENCE)


STEADY = line((1.3, "one", 0), (1.9, "one two", 0), (2.7, "one two three", 0), (3.0, "one two three", 3))
UNSURE = line((1.3, "won", 0), (1.9, "one too", 0), (2.7, "one two three", 0), (3.0, "one two tree", 3))


def test_the_first_word_counts_from_the_beginning_of_speech_and_the_final_from_its_end() -> None:
    assert STEADY.first_partial() == pytest.approx(1.3 - 0.5)
    assert STEADY.finalisation() == pytest.approx(3.0 - 2.4)


def test_a_word_has_appeared_when_it_stands_there_for_good() -> None:
    assert STEADY.emission_delays() == pytest.approx([0.3, 0.3, 0.3])
    assert UNSURE.emission_delays() == pytest.approx([0.9, 1.1])  # "three" was wrong in the end
    flicker = line((1.3, "one", 0), (1.5, "", 0), (1.9, "one", 0), (3.0, "one", 1))
    assert flicker.emission_delays() == pytest.approx([0.9])


def test_words_that_were_never_said_shift_no_times() -> None:
    inserted = line((1.3, "oh one", 0), (3.0, "oh one three", 3))
    assert inserted.emission_delays() == pytest.approx([0.3, 0.6])


def test_every_word_at_its_place_counts_once_and_those_that_did_not_stay_are_changed() -> None:
    assert STEADY.changes() == (3, 0)
    assert UNSURE.changes() == (6, 3)  # won, too, three
    assert line((1.0, "one two", 0), (2.0, "one", 1)).changes() == (2, 1)


def test_figures_of_many_utterances() -> None:
    latency = Latency.of([STEADY, UNSURE, Timeline()])
    assert latency.first_partial.values == pytest.approx((0.8, 0.8))
    assert latency.changed_share == pytest.approx(3 / 9)
    assert latency.to_json()["emission_delay"]["count"] == 5
    assert Latency.of([]).changed_share is None
    assert Spread(()).to_json() == {"p50": None, "p95": None, "mean": None, "count": 0}
    assert Spread((1.0, 2.0, 3.0)).percentile(50) == 2.0


def test_without_times_of_the_reference_there_are_no_latencies() -> None:
    unknown = Timeline(STEADY.shown)
    assert (unknown.first_partial(), unknown.finalisation(), unknown.emission_delays()) == (None, None, [])
    assert unknown.changes() == (3, 0)
