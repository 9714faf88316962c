"""Compiled code never runs on the thread that takes signals, whoever calls it."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import asr
from asr.alignment import forced
from asr.cli.main import main
from asr.system.threads import map_off_main_thread, off_main_thread

COMPILES = re.compile(r"\bnjit\(|^@_?compiled(_part)?\b", re.MULTILINE)
KERNELS = {  # files with compiled functions, all called from below
    "alignment/forced.py",
    "decoding/prefix/kernel.py",
    "decoding/prefix/selection.py",
    "decoding/prefix/text_scores.py",
    "decoding/prefix/tree.py",
    "scoring/kernel.py",
    "system/jit.py",
}


class Watch:
    """Notes the threads that call functions."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []

    def over(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*arguments: Any) -> Any:
            self.threads.append(threading.current_thread())
            return function(*arguments)

        return noted


def watch_search(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> str:
    from asr.decoding.prefix import kernel, tree

    for module, name in ((kernel, "prefix_beam_search"), (tree, "write_tokens"), (tree, "prune")):
        monkeypatch.setattr(module, name, watch.over(getattr(module, name)))
    return "transcribe audio/0.wav --model model --vad none --search ctc_prefix_beam --threads 1"


def watch_alignment(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> str:
    kernel = forced._compiled()
    assert kernel is not None
    monkeypatch.setattr(forced, "_compiled", lambda: watch.over(kernel))
    return "transcribe audio/0.wav --model model --vad none --format json"


def watch_scoring(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> str:
    from asr.scoring import batch, kernel

    monkeypatch.setattr(kernel, "align_lines", watch.over(kernel.align_lines))
    monkeypatch.setattr(batch, "WORTH_COMPILING", 1)
    return "score ref.txt hyp.txt"


@pytest.mark.usefixtures("workspace")
@pytest.mark.parametrize("watching", [watch_search, watch_alignment, watch_scoring])
def test_a_kernel_runs_on_another_thread_than_the_main_one(
    watching: Callable[[Watch, pytest.MonkeyPatch], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("numba")
    watch = Watch()
    command = watching(watch, monkeypatch)
    with pytest.raises(SystemExit) as leaving:
        main(command.split())
    assert leaving.value.code == 0
    assert watch.threads
    assert threading.main_thread() not in watch.threads


def test_no_other_file_compiles_anything() -> None:
    package = Path(asr.__file__).parent
    compiling = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if COMPILES.search(path.read_text(encoding="utf-8"))
    }
    assert compiling
    assert compiling <= KERNELS, "call it by `off_main_thread`, and add a case above"


def test_results_and_errors_come_back_and_other_threads_do_the_work_themselves() -> None:
    assert off_main_thread(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        off_main_thread(divmod, 7, 0)
    threads: list[threading.Thread] = []
    own = threading.Thread(target=lambda: threads.append(off_main_thread(threading.current_thread)))
    own.start()
    own.join()
    assert threads == [own]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_has_threads_of_its_own() -> None:
    """As the workers of a DataLoader: the threads that its parent keeps are not there to be waited for."""
    assert off_main_thread(int) == 0
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        os._exit(off_main_thread(int, "7"))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_items_are_worked_on_in_their_order_off_the_main_thread() -> None:
    threads: set[threading.Thread] = set()

    def noted(item: int) -> int:
        threads.add(threading.current_thread())
        return 2 * item

    for num_threads in (1, 2):
        assert map_off_main_thread(noted, range(20), num_threads) == list(range(0, 40, 2))
    assert threading.main_thread() not in threads
