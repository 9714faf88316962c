"""How numerical libraries are set up for a process of ours."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from asr.system.libraries import settle_libraries

FAULTS = """
import resource, sys
from asr.system.libraries import settle_libraries
if sys.argv[1] == "settled":
    settle_libraries()
import torch
for _ in range(12):  # glibc keeps a few pieces apart before it joins what is freed
    torch.ones(2**24)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    torch.ones(2**24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_what_the_user_has_chosen_stays_and_the_rest_is_filled_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    monkeypatch.delenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", raising=False)
    settle_libraries()
    assert os.environ["GOMP_SPINCOUNT"] == "7"
    assert int(os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"]) > 0
    assert os.environ["TORCH_CPP_LOG_LEVEL"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc alone can be told to keep memory")
def test_memory_that_is_freed_is_not_asked_of_the_system_again() -> None:
    settled, left = (
        int(subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True).stdout)
        for how in ("settled", "left")
    )
    assert settled < left / 10


LOADING = """
import sys
from asr.system.libraries import give_freed_memory_back, giving_memory_back, settle_libraries
settle_libraries()
import torch
def held():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("RssAnon")) // 1024
before = held()
def work():
    kept = []
    for _ in range(8):
        passing = torch.ones(2**23)  # 32 MB
        kept.append(torch.ones(2**18))
        del passing
    return kept
with giving_memory_back():
    kept = work()
loaded = held() - before
more = work()
worked = held() - before
give_freed_memory_back()
print(loaded, worked, held() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc alone can be told to keep memory")
def test_what_loading_frees_goes_back_and_what_work_frees_when_it_is_told_to() -> None:
    run = subprocess.run([sys.executable, "-c", LOADING], capture_output=True, text=True, check=True)
    loaded, worked, given_back = map(int, run.stdout.split())
    assert loaded < 24  # MB: 8 are kept
    assert worked > loaded + 24
    assert given_back < worked - 16
