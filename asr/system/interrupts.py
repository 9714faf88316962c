"""Ctrl-C from a program's first line to its last: one line, status 130, and never in the middle of an import.

Python raises KeyboardInterrupt between any two of its instructions. Raised while a module loads, it may come out of the
initialisation of a library in C that does not expect it, and the process dies of a bad address; raised where nobody
catches it yet or any more, Python ends itself by the signal, status -2, with a traceback. So there are three stages:

    leave_at_once        while the program loads: nothing has begun, and the process ends there and then
    raise_when_loaded    while it works: KeyboardInterrupt, but for that it waits until no module is being loaded
    no_more              what it was asked for is done: the signal is ignored
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress
from types import FrameType
from typing import Any, NoReturn

INTERRUPTED = 130  # exit status
RETRY_SECONDS = 0.02
IMPORT_SYSTEM = "<frozen importlib."


def leave_at_once() -> None:
    """From now on Ctrl-C ends the process with one line; not where it is ignored (nohup) or handled by a caller."""
    if _is_ours_to_handle():
        signal.signal(signal.SIGINT, _leave)


def raise_when_loaded() -> None:
    """From now on Ctrl-C raises KeyboardInterrupt in the main thread, as soon as that is not loading a module."""
    if _is_ours_to_handle():
        signal.signal(signal.SIGINT, _raise)
        sys.unraisablehook = _raise_again


def no_more() -> None:
    """From now on Ctrl-C is ignored, also while the interpreter ends; not where a caller handles it."""
    if _is_ours_to_handle():
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def end_process(status: int) -> NoReturn:
    """End this process now, whatever its threads do, and the processes that work for it.

    Python would wait for its threads, and once KeyboardInterrupt came out of generated code (that of a dataclass is),
    however well caught, it would end itself by the signal instead.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # nobody reads on, or it is closed
            stream.flush()
    if (multiprocessing := sys.modules.get("multiprocessing")) is not None:
        for child in multiprocessing.active_children():
            child.kill()
    os._exit(status)


def _is_ours_to_handle() -> bool:
    is_main = threading.current_thread() is threading.main_thread()
    return is_main and signal.getsignal(signal.SIGINT) in (signal.default_int_handler, _leave, _raise)


def _leave(_number: int, _frame: FrameType | None) -> None:
    os.write(2, b"interrupted\n")
    os._exit(INTERRUPTED)


def _raise(_number: int, frame: FrameType | None) -> None:
    if not _is_loading(frame):
        raise KeyboardInterrupt
    _send_soon()


def _raise_again(lost: Any) -> None:
    """Where an exception was lost, as it is in a finaliser, which may run at any time."""
    if issubclass(lost.exc_type, KeyboardInterrupt):
        _send_soon()
    else:
        sys.__unraisablehook__(lost)


def _send_soon() -> None:
    timer = threading.Timer(RETRY_SECONDS, os.kill, (os.getpid(), signal.SIGINT))
    timer.daemon = True
    timer.start()


def _is_loading(frame: FrameType | None) -> bool:
    """Whether a module is being imported somewhere below the frame."""
    while frame is not None:
        if frame.f_code.co_filename.startswith(IMPORT_SYSTEM):
            return True
        frame = frame.f_back
    return False
