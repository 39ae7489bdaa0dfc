"""Measure the wall-clock seconds of each stage, and report when stages begin and end."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Watcher(Protocol):
    """Hears of every stage."""

    def began(self, name: str) -> None:
        """Take note that a stage begins."""

    def ended(self, name: str, seconds: float) -> None:
        """Take note that a stage is over, well or not."""


_seconds: ContextVar[dict[str, float] | None] = ContextVar("_seconds", default=None)
_watcher: ContextVar[Watcher | None] = ContextVar("_watcher", default=None)


@contextmanager
def stopwatch() -> Iterator[dict[str, float]]:
    """Collect the wall-clock seconds of every stage in the block, by its name."""
    seconds: dict[str, float] = {}
    token = _seconds.set(seconds)
    try:
        yield seconds
    finally:
        _seconds.reset(token)


@contextmanager
def watched_by(watcher: Watcher) -> Iterator[None]:
    """Tell a watcher of every stage in the block."""
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Add the time that the block takes to the stopwatch around it, if there is one."""
    watcher, start = _watcher.get(), time.perf_counter()
    if watcher is not None:
        watcher.began(name)
    try:
        yield
    finally:
        elapsed, seconds = time.perf_counter() - start, _seconds.get()
        if seconds is not None:
            seconds[name] = round(seconds.get(name, 0.0) + elapsed, 3)
        if watcher is not None:
            watcher.ended(name, elapsed)


def timed(function: Callable[P, R]) -> Callable[P, R]:
    """Make a function a stage of its name."""

    # Prefect sends a flow to other processes with all that it names: `stage` can be sent, and a ContextVar cannot.
    @functools.wraps(function)
    def measured(*args: P.args, **kwargs: P.kwargs) -> R:
        with stage(function.__name__):
            return function(*args, **kwargs)

    return measured
