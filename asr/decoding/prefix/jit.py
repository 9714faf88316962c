"""How the functions of the kernel are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Decorator: machine code that runs without Python's lock, kept on disk where a folder can be written to.

    What is kept is made anew when the function's own file changes, not when that of a function it calls does: after
    editing `text_scores.py` or `selection.py`, touch `kernel.py`.
    """
    try:
        return cast("Function", njit(cache=True, nogil=True)(function))
    except RuntimeError:  # numba found no folder for it
        return cast("Function", njit(nogil=True)(function))
