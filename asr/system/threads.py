"""Machine code away from the thread that takes signals."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Item = TypeVar("Item")
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
    return _pool(1).submit(function, *arguments, **named).result()


def map_off_main_thread(function: Callable[[Item], Result], items: Iterable[Item], num_threads: int) -> list[Result]:
    """What a function returns for each item, up to `num_threads` at once, and never called on the main thread."""
    if num_threads <= 1:
        return off_main_thread(lambda: [function(item) for item in items])
    return list(_pool(num_threads).map(function, items))


@cache
def _pool(num_threads: int) -> ThreadPoolExecutor:
    """Threads that stay: to start one takes longer than many a call."""
    return ThreadPoolExecutor(num_threads, "compiled")


if hasattr(os, "register_at_fork"):  # a child has none of the threads, and must not wait for them
    os.register_at_fork(after_in_child=_pool.cache_clear)
