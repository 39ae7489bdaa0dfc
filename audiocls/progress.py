"""Progress of the work: on a screen if one is open, else as a bar on a terminal, else not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Bar(Protocol):
    """Work that is shown while it is done."""

    def advance(self, amount: float) -> None:
        """Take note of how much further the work has come."""

    def expect(self, total: float) -> None:
        """Take note of how much work there is, where that was not known at the beginning."""

    def say(self, *facts: str) -> None:
        """Show facts beside the bar, the most important one first, in place of those before."""


class Screen(Protocol):
    """Shows bars."""

    def bar(self, description: str, total: float, unit: str) -> AbstractContextManager[Bar]:
        """Show a bar while the block runs."""


_screen: ContextVar[Screen | None] = ContextVar("_screen", default=None)


@contextmanager
def shown_on(screen: Screen) -> Iterator[None]:
    """Have a screen show the bars of the block."""
    token = _screen.set(screen)
    try:
        yield
    finally:
        _screen.reset(token)


def progress_bar(description: str, total: float, unit: str = "clips") -> AbstractContextManager[Bar]:
    """Show a bar on stderr while the block runs; yield what moves it on."""
    screen = _screen.get()
    return _own_bar(description, total) if screen is None else screen.bar(description, total, unit)


class _RichBar:
    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def advance(self, amount: float) -> None:
        self._progress.advance(self._task, amount)

    def expect(self, total: float) -> None:
        self._progress.update(self._task, total=total)

    def say(self, *facts: str) -> None:
        self._progress.update(self._task, facts=", ".join(facts))


@contextmanager
def _own_bar(description: str, total: float) -> Iterator[Bar]:
    # Imported here: whoever reads a params file needs no terminal.
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[facts]}"),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield _RichBar(progress, progress.add_task(description, total=total, facts=""))
