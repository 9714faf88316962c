"""The number of workers changes how fast batches come, and nothing else."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from asr.data.dataset import collate
from asr.data.loader import Loader
from asr.data.sampler import BucketSampler
from asr.errors import AudioError, WorkerError
from asr.types import Batch


@pytest.fixture
def sampler(utterances) -> BucketSampler:
    return BucketSampler([row.duration for row in utterances], max_batch_seconds=3, seed=1)


def assert_equal(batches: Iterable[Batch], expected: Iterable[Batch]) -> None:
    for batch, other in itertools.zip_longest(batches, expected):
        assert batch.ids == other.ids
        for name in ("features", "feature_lens", "tokens", "token_lens"):
            assert torch.equal(getattr(batch, name), getattr(other, name)), name


@pytest.mark.parametrize(("num_workers", "start_method"), [(1, None), (2, None), (1, "spawn")])
def test_batches_are_the_same_whatever_the_number_of_workers(dataset, sampler, num_workers, start_method):
    alone = Loader(dataset, sampler)
    workers = Loader(dataset, sampler, num_workers, start_method=start_method)
    for epoch in (0, 1):
        expected = list(alone.epoch(epoch))
        assert len(expected) == alone.num_batches(epoch) > 4
        assert [list(batch.ids) for batch in expected] == [
            [f"u{index:02}" for index in batch] for batch in sampler.batches(epoch)
        ]
        assert_equal(workers.epoch(epoch), expected)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_epoch_goes_on_from_its_middle_also_after_one_that_was_left(dataset, sampler, num_workers):
    whole = list(Loader(dataset, sampler).epoch(1))
    loader = Loader(dataset, sampler, num_workers)
    next(loader.epoch(0))
    assert_equal(loader.epoch(1, start_batch=3), whole[3:])
    assert_equal(loader.epoch(1, start_batch=len(whole)), [])
    assert_equal(loader.epoch(1), whole)


def test_the_trainer_may_ask_for_the_number_of_batches_at_every_step(dataset, sampler, monkeypatch):
    loader = Loader(dataset, sampler)
    expected = [len(sampler.batches(epoch)) for epoch in (0, 1)]
    formed: list[int] = []
    batches = sampler.batches
    monkeypatch.setattr(sampler, "batches", lambda epoch: formed.append(epoch) or batches(epoch))
    assert [loader.num_batches(epoch) for epoch in (0, 0, 0, 1, 1)] == [expected[0]] * 3 + [expected[1]] * 2
    assert formed == [0, 1]


def test_views_stand_one_after_the_other(dataset, sampler):
    single = next(Loader(dataset, sampler).epoch(0))
    double = next(Loader(dataset, sampler, num_views=2).epoch(0))
    size = len(single.ids)
    assert double.ids == single.ids * 2
    assert torch.equal(double.features[:size], single.features)
    assert not torch.equal(double.features[size:], single.features)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_error_comes_as_it_was_after_the_batches_before_it(dataset, sampler, utterances, tmp_path, num_workers):
    bad = sampler.batches(0)[2][0]
    dataset.utterances = [
        replace(row, audio=tmp_path / "gone.wav") if index == bad else row for index, row in enumerate(utterances)
    ]
    batches = Loader(dataset, sampler, num_workers).epoch(0)
    next(batches)
    next(batches)
    with pytest.raises(AudioError) as caught:
        next(batches)
    message = str(caught.value)
    del caught  # it refers to itself, and workers that a garbage collection ends take five seconds
    assert message.startswith(f"utterance 'u{bad:02}': ")
    assert "\n" not in message


@pytest.mark.parametrize("num_workers", [0, 1])
def test_utterances_that_cannot_be_read_are_named_by_their_batch_which_is_as_if_they_were_not_in_it(
    dataset, sampler, utterances, tmp_path, num_workers
):
    batches = sampler.batches(0)
    long = next(number for number, batch in enumerate(batches) if len(batch) > 1)
    alone = next(number for number, batch in enumerate(batches) if number != long)
    bad = {batches[long][0], *batches[alone]}
    expected = collate([dataset.load(index, 0) for index in batches[long][1:]])
    gone = tmp_path / "gone.wav"
    dataset.utterances = [replace(row, audio=gone) if index in bad else row for index, row in enumerate(utterances)]
    loaded = list(Loader(dataset, sampler, num_workers, skip_unreadable=True).epoch(0))
    assert len(loaded) == len(batches)
    assert_equal([loaded[long]], [expected])
    assert [row.id for row in loaded[long].unreadable] == [f"u{batches[long][0]:02}"]
    assert "gone.wav" in loaded[long].unreadable[0].reason
    assert loaded[alone].ids == ()
    assert [row.id for row in loaded[alone].unreadable] == [f"u{index:02}" for index in batches[alone]]
    assert sum(len(batch.unreadable) for batch in loaded) == len(bad)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_loading_leaves_the_global_random_state_alone(dataset, sampler, num_workers):
    before = torch.get_rng_state()
    list(Loader(dataset, sampler, num_workers).epoch(0))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_time_a_consumer_waits_is_measured_and_its_own_time_is_not(dataset, sampler):
    loader = Loader(dataset, sampler)
    load = dataset.load_views
    dataset.load_views = lambda *arguments: time.sleep(0.01) or load(*arguments)
    for _ in loader.epoch(0):
        time.sleep(0.05)
    asleep = 0.05 * loader.num_batches(0)
    assert 0.01 * len(dataset) <= loader.waited_seconds < 0.01 * len(dataset) + asleep + 5
    dataset.load_views = load
    began = time.perf_counter()
    for _ in loader.epoch(0):
        time.sleep(0.05)
    assert loader.waited_seconds <= time.perf_counter() - began - asleep


INTERRUPTED = """
import signal
import time
import torch
from asr.data.dataset import collate
from asr.data.loader import Loader
from asr.types import Example

class Slow:
    utterances = ()

    def load_views(self, index, epoch, num_views):
        time.sleep(0.02)
        return [Example("a", torch.ones(1, 1), torch.ones(1, dtype=torch.int64))]

class Sampler:
    def batches(self, epoch):
        return [[0]] * 100_000

for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.default_int_handler)  # a shell starts background jobs with SIGINT ignored
batches = Loader(Slow(), Sampler(), 2).epoch(0)
print("started", flush=True)
try:
    for batch in batches:
        pass
except KeyboardInterrupt:
    print("stopped", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_all_processes_stops_the_parent_and_no_worker_says_a_word(number):
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout.readline() == "started\n"
    wait_for_workers(process.pid, 2)
    os.killpg(process.pid, number)
    output, errors = process.communicate(timeout=60)
    assert output == "stopped\n"
    assert errors == ""
    assert process.returncode == 0


def test_a_worker_that_is_killed_ends_the_epoch_with_a_clear_error(dataset, sampler):
    loader = Loader(dataset, sampler, 1)
    next(loader.epoch(0))
    (worker,) = multiprocessing.active_children()
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(WorkerError, match=r"a loader process was killed .*num_workers to 0"):
        list(loader.epoch(1))


def test_a_process_that_still_has_a_loader_ends_at_once():
    script = INTERRUPTED.partition("batches =")[0] + "loader = Loader(Slow(), Sampler(), 2)\nnext(loader.epoch(0))\n"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert (ended.stdout, ended.stderr) == ("", "")


def test_workers_of_a_killed_process_end_though_nobody_takes_their_batches():
    script = INTERRUPTED.replace("    for batch in batches:\n        pass", "    next(batches)\n    time.sleep(60)")
    script = script.replace("torch.ones(1, 1)", "torch.ones(500_000, 1)")  # more than a pipe holds
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "started\n"
        wait_for_workers(process.pid, 2)
        process.kill()
        # The workers have inherited the pipe: it ends when the last of them does.
        reader = threading.Thread(target=process.stdout.read)
        reader.start()
        reader.join(timeout=30)
        assert not reader.is_alive()


def wait_for_workers(parent: int, number: int) -> None:
    """Until so many children of a process ignore both signals; skips where /proc does not tell."""
    if not Path(f"/proc/{parent}/task").is_dir():
        pytest.skip("needs /proc to see when the workers are up")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with open(f"/proc/{parent}/task/{parent}/children") as file:
            children = file.read().split()
        if sum(ignores_signals(child) for child in children) >= number:
            return
        time.sleep(0.05)
    pytest.fail("the workers did not start")


def ignores_signals(process: str) -> bool:
    with open(f"/proc/{process}/status") as file:
        ignored = next(line for line in file if line.startswith("SigIgn:"))
    bits = int(ignored.split()[1], 16)
    return all(bits >> (number - 1) & 1 for number in (signal.SIGINT, signal.SIGTERM))
