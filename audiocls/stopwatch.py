"""Measure the wall-clock seconds of each stage."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

_seconds: ContextVar[dict[str, float] | None] = ContextVar("_seconds", default=None)


@contextmanager
def stopwatch() -> Iterator[dict[str, float]]:
    """Collect the wall-clock seconds of every `timed` function called in the block, by the function's name."""
    seconds: dict[str, float] = {}
    token = _seconds.set(seconds)
    try:
        yield seconds
    finally:
        _seconds.reset(token)


def timed(function: Callable[P, R]) -> Callable[P, R]:
    """Add the time of each call to the enclosing stopwatch, if any."""

    @functools.wraps(function)
    def measured(*args: P.args, **kwargs: P.kwargs) -> R:
        start = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            _add(function.__name__, time.perf_counter() - start)

    return measured


# Not in `measured`: Prefect pickles a flow with everything that it refers to, and a ContextVar cannot be pickled.
def _add(name: str, elapsed: float) -> None:
    seconds = _seconds.get()
    if seconds is not None:
        seconds[name] = round(seconds.get(name, 0.0) + elapsed, 3)
