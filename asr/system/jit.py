"""Functions compiled to machine code by numba, kept on disk. Importing this needs numba, the extra `fast`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import njit
from numba.core.caching import FunctionCache
from numba.core.dispatcher import Dispatcher

Function = TypeVar("Function", bound=Callable[..., Any])

# Numba counts references to every array that a function is given, reads from a tuple or cuts a slice of, atomically:
# three quarters of the time of a beam search, and half of what it takes to compile. Without counts (`_nrt`) it can make
# no arrays. Python's lock is not held.
_OPTIONS: dict[str, Any] = {"nogil": True, "_nrt": False}
_PART: dict[str, Any] = {**_OPTIONS, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def compiled(function: Function) -> Function:
    """Decorator: machine code that runs without Python's lock, kept beside the source where that can be written to.

    It is made anew when the file of the function changes, or one it takes compiled functions from: decorate those
    before they are imported there. Call it through `asr.system.threads.off_main_thread`. It must not allocate arrays.
    """
    dispatcher = njit(**_OPTIONS)(function)
    with suppress(RuntimeError, OSError):  # numba found no folder to write to, or there is no source
        dispatcher._cache = _Cache(function)
    return cast("Function", dispatcher)


def compiled_part(function: Function) -> Function:
    """Decorator: machine code that other compiled functions alone may call; Python cannot.

    The way in from Python is most of what there is to compile in a short function. Kept on disk with its callers.
    """
    return cast("Function", njit(**_PART)(function))


class _Cache(FunctionCache):
    """Machine code on disk, found by what it was made of. Numba by itself looks at the function's own file only."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._digest = _sources_digest(function)

    def _index_key(self, signature: Any, codegen: Any) -> tuple[Any, ...]:
        return (*super()._index_key(signature, codegen), self._digest)


def _sources_digest(function: Any) -> str:
    """Of the text of the function's file, and of all files its compiled functions come from, however indirectly."""
    files, waiting = set(), [function]
    while waiting:
        one = waiting.pop()
        if one.__code__.co_filename not in files:
            files.add(one.__code__.co_filename)
            waiting += [known.py_func for known in one.__globals__.values() if isinstance(known, Dispatcher)]
    digest = hashlib.sha256()
    for text in sorted(Path(file).read_bytes() for file in files):
        digest.update(text)
    return digest.hexdigest()
