"""What signals do while a run trains, and after an error among several ranks."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from asr.training.stopping import CTRL_C, stop_requests


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Puts the handlers of signals back."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


def test_signals_are_collected_and_a_second_ctrl_c_stops_at_once() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stop_requests() as requests:
        os.kill(os.getpid(), signal.SIGINT)
        assert requests == [CTRL_C]
        os.kill(os.getpid(), signal.SIGTERM)
        assert requests == [CTRL_C, "SIGTERM"]
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize(("is_alone", "ignored"), [(True, False), (False, True)])
def test_a_rank_that_fails_lives_to_say_why_though_the_launcher_ends_it(is_alone: bool, ignored: bool) -> None:
    with pytest.raises(KeyError), stop_requests(is_alone=is_alone):
        raise KeyError
    assert (signal.getsignal(signal.SIGTERM) == signal.SIG_IGN) == ignored
    with stop_requests(is_alone=is_alone):
        pass
