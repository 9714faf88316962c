"""Ctrl-C at any moment of the program `asr`: one line and status 130."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CTRL_C = "import os, signal; os.kill(os.getpid(), signal.SIGINT)"
LATER = 1.0  # seconds, in which a signal that was put off certainly comes


def start(*command: str, cwd: Path) -> subprocess.Popen[str]:
    """A Python process as a shell starts one: of a group of its own, with Ctrl-C as it is by default."""
    return subprocess.Popen(
        [sys.executable, *command],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def run(program: str, folder: Path) -> tuple[int, str, str]:
    """Status and output of a program."""
    process = start("-c", f"from asr.system.interrupts import *\nimport time\n{program}", cwd=folder)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_before_anything_has_begun_it_ends_the_process_with_a_line(tmp_path: Path) -> None:
    status, out, err = run(f"leave_at_once()\n{CTRL_C}\nprint('went on')", tmp_path)
    assert (status, out, err) == (130, "", "interrupted\n")


def test_it_waits_until_a_module_is_loaded_and_then_is_the_usual_exception(tmp_path: Path) -> None:
    (tmp_path / "heavy.py").write_text(f"{CTRL_C}\nimport time\ntime.sleep(0.2)\nprint('loaded')\n", encoding="utf-8")
    loading = f"raise_when_loaded()\ntry:\n  import heavy\n  time.sleep({LATER})\n"
    program = f"{loading}except KeyboardInterrupt:\n  print('caught')"
    assert run(program, tmp_path) == (0, "loaded\ncaught\n", "")


def test_one_that_a_finaliser_swallows_comes_again(tmp_path: Path) -> None:
    program = (
        f"class Finalised:\n  def __del__(self):\n    {CTRL_C}\n"
        f"raise_when_loaded()\ntry:\n  Finalised()\n  time.sleep({LATER})\nexcept KeyboardInterrupt:\n  print('caught')"
    )
    assert run(program, tmp_path) == (0, "caught\n", "")


def test_other_faults_of_finalisers_are_told_as_ever(tmp_path: Path) -> None:
    status, _, err = run("class Bad:\n  def __del__(self):\n    1 / 0\nraise_when_loaded()\nBad()", tmp_path)
    assert status == 0
    assert "ZeroDivisionError" in err


def test_the_end_of_a_process_has_its_status_though_generated_code_was_interrupted(tmp_path: Path) -> None:
    """Python by itself would die of the signal."""
    generated = f"raise_when_loaded()\ntry:\n  exec({CTRL_C!r} + '\\nwhile True: pass')\nexcept KeyboardInterrupt:\n"
    assert run(f"{generated}  print('caught')\n  end_process(130)", tmp_path) == (130, "caught\n", "")


def test_the_end_of_a_process_does_not_wait_for_its_threads(tmp_path: Path) -> None:
    program = "import threading\nthreading.Thread(target=time.sleep, args=(600,)).start()\nend_process(3)"
    assert run(program, tmp_path)[0] == 3


def test_after_the_work_is_done_nothing_comes_of_it(tmp_path: Path) -> None:
    status, out, err = run(f"raise_when_loaded()\nno_more()\n{CTRL_C}\nprint('done')", tmp_path)
    assert (status, out, err) == (0, "done\n", "")


@pytest.mark.parametrize("stage", ["leave_at_once", "raise_when_loaded", "no_more"])
@pytest.mark.parametrize("theirs", ["signal.SIG_IGN", "lambda *_: print('theirs')"])
def test_where_somebody_else_handles_it_or_nobody_shall_it_stays_so(stage: str, theirs: str, tmp_path: Path) -> None:
    program = f"import signal\nsignal.signal(signal.SIGINT, {theirs})\n{stage}()\n{CTRL_C}\nprint('went on')"
    assert run(program, tmp_path) == (0, "theirs\n" * ("theirs" in theirs) + "went on\n", "")


def interrupt(line: str, seconds: float, whole_group: bool, folder: Path) -> tuple[int, str]:
    """Status and messages of a command that gets Ctrl-C so many seconds after Python has begun with it."""
    process = start(
        "-c", "import asr\nprint(flush=True)\nfrom asr.__main__ import main\nmain()", *line.split(), cwd=folder
    )
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(seconds)
    (os.killpg if whole_group else os.kill)(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=120)
    return process.returncode, err


def assert_ends_well(status: int, err: str, line: str) -> None:
    """Interrupted with a line; or done, where the signal came too late."""
    assert status in (0, 130), f"{line}: status {status}: {err}"
    assert "Traceback" not in err
    assert "KeyboardInterrupt" not in err
    if status == 130:
        last = err.splitlines()[-1]
        assert last.startswith(("interrupted", "stopped by Ctrl-C")), err
        assert err.count("interrupted") <= 1


@pytest.mark.parametrize("seconds", [0.02, 0.15, 0.25])
def test_a_quick_command_ends_with_a_line_whenever_it_is_interrupted(seconds: float, tiny_workspace: Path) -> None:
    assert_ends_well(*interrupt("score ref.txt hyp.txt", seconds, False, tiny_workspace), "score")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "longest"),
    [
        ("transcribe audio --model model --device cpu", 4.0),
        ("train experiment.yaml --out out{number} --device cpu", 6.0),
        ("score ref.txt hyp.txt", 0.5),
    ],
)
def test_a_command_ends_with_a_line_at_any_of_forty_moments(line: str, longest: float, workspace: Path) -> None:
    statuses = []
    for number in range(40):
        seconds = 0.03 + longest * number / 40
        status, err = interrupt(line.format(number=number), seconds, number % 2 == 1, workspace)
        assert_ends_well(status, err, f"{line} at {seconds:.2f} s")
        statuses.append(status)
    assert statuses.count(130) >= 10
