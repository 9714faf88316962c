"""Machine code away from the thread that takes signals."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def takes_signals() -> bool:
    """Whether this is the main thread, the one in which Python raises KeyboardInterrupt."""
    return threading.current_thread() is threading.main_thread()


def off_main_thread(
    function: Callable[Arguments, Result], *arguments: Arguments.args, **named: Arguments.kwargs
) -> Result:
    """Call a function in this thread, or in another one while the main thread waits for it.

    Whatever numba compiled has to be called so. Ctrl-C that arrives while such a function hands over its results raises
    KeyboardInterrupt in the middle of it, which it does not expect: it goes on with a null pointer and crashes.
    """
    if not takes_signals():
        return function(*arguments, **named)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function, *arguments, **named).result()
