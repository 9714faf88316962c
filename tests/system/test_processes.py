"""Work that is shared out comes back in order, whatever the number of processes, and a dead one is told."""

from __future__ import annotations

import os
import signal

import pytest

from asr.errors import ManifestError, WorkerError
from asr.system.processes import share_out


def scale(factor: int, number: int) -> int:
    if number < 0:
        raise ManifestError(f"{number} is negative")
    return factor * number


def die(_: str, number: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_order_and_errors_as_they_were(workers):
    assert list(share_out(scale, (3,), ((n,) for n in range(20)), workers, "scales")) == list(range(0, 60, 3))
    with pytest.raises(ManifestError, match="-1 is negative"):
        list(share_out(scale, (3,), [(1,), (-1,)], workers, "scales"))


def test_items_are_taken_as_results_are_taken():
    taken = []
    results = share_out(scale, (1,), ((taken.append(n) or n,) for n in range(100)), 2, "scales")
    next(results)
    assert len(taken) <= 6
    results.close()


def test_a_process_that_is_killed_is_an_error_that_tells_what_it_did():
    with pytest.raises(WorkerError, match="a process that scales was killed"):
        list(share_out(die, ("",), [(1,), (2,)], 2, "scales"))
