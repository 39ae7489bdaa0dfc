"""The terminal display of a flow: a live line for the running stage, and a line for each completed one.

Without a terminal, and in Prefect's own logs, Prefect's lines are used instead.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from prefect.logging.handlers import PrefectConsoleHandler
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from audiocls.files import masked
from audiocls.progress import Bar, shown_on
from audiocls.stopwatch import watched_by

_TITLES: Final = {
    "start": "Starting",
    "open_run": "Opening the run",
    "check_run": "Checking the params",
    "ingest": "Listing the clips",
    "cache_waveforms": "Decoding",
    "collect_corpus": "Collecting clips",
    "find_near_duplicates": "Near-duplicates",
    "audit_corpus": "Audit",
    "assign_splits": "Splitting",
    "balance_classes": "Balancing",
    "cache_features": "Features",
    "fit": "Training",
    "balance_head": "Balancing the head",
    "train_contenders": "Training",
    "compare": "Comparing",
    "evaluate": "Evaluation",
    "write_page": "Report page",
    "diagnose": "Diagnosis",
    "log_results": "Upload",
    "log_comparison": "Upload",
}
# A stage without a title, such as an upload of counts, gets a line only if it took this long.
_FELT_SECONDS: Final = 1.0
_TITLE_WIDTH: Final = 20
_LEAST_BAR: Final = 6
_LONGEST_BAR: Final = 40
_FRAMES_PER_SECOND: Final = 5


@dataclass
class Stage:
    """A running stage: its title and its progress."""

    title: str
    begun: float
    doing: str = ""
    unit: str = ""
    total: float = 0.0
    done: float = 0.0
    first: float | None = None  # time and amount of the first progress
    first_done: float = 0.0
    facts: tuple[str, ...] = ()
    finished: Counter[str] = field(default_factory=Counter)  # by unit, of bars that were closed

    def advance(self, amount: float, now: float) -> None:
        """Add completed work."""
        self.done += amount
        if self.first is None:
            self.first, self.first_done = now, self.done

    def seconds_left(self, now: float) -> float | None:
        """Estimate the remaining time from the pace since the first progress; None if not yet known."""
        if self.first is None or self.done <= self.first_done or now <= self.first:
            return None
        pace = (self.done - self.first_done) / (now - self.first)
        return max(0.0, self.total - self.done) / pace

    def describe(self, now: float) -> list[str]:
        """Return the facts to show, the most important first."""
        if not self.total:
            return [duration(now - self.begun)]
        left = self.seconds_left(now)
        return [
            f"{self.done:,.0f}/{self.total:,.0f} {self.unit}",
            *([] if left is None else [f"{duration(left)} left"]),
            *self.facts,
        ]


def duration(seconds: float) -> str:
    """Format seconds for display: 0.4 s, 12 s, 3:07, 1:02:33."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02}:{rest:02}"
    return f"{minutes}:{rest:02}" if minutes else f"{rest} s"


def fitting(facts: list[str], width: int) -> str:
    """Join as many facts as fit into a width, in order."""
    text = ""
    for fact in facts:
        longer = f"{text}  {fact}" if text else fact
        if cell_len(longer) > width:
            break
        text = longer
    return text


class Screen:
    """Shows the stages of a flow on a terminal.

    Args:
        console: The terminal.
        now: The clock.
    """

    def __init__(self, console: Console, now: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._now = now
        self._stages: list[Stage] = []  # the running stages, nested
        self._names: list[str] = []
        self._spinner = Spinner("dots", style="cyan")
        self._live = Live(
            console=console, get_renderable=self.render, transient=True, refresh_per_second=_FRAMES_PER_SECOND
        )

    def began(self, name: str) -> None:
        """Show a new stage."""
        self._names.append(name)
        self._stages.append(Stage(_TITLES.get(name, name.replace("_", " ").capitalize()), self._now()))

    def ended(self, name: str, seconds: float) -> None:
        """Print the line of a completed stage."""
        self._names.pop()
        over = self._stages.pop()
        if name in _TITLES or seconds >= _FELT_SECONDS:
            work = ", ".join(f"{amount:,} {unit}" for unit, amount in over.finished.items() if amount)
            line = f"  {set_cell_size(over.title, _TITLE_WIDTH)} {duration(seconds):>9}  {work}"
            self._console.print(Text(line.rstrip(), style="dim"), soft_wrap=True)

    @contextmanager
    def bar(self, description: str, total: float, unit: str) -> Iterator[Bar]:
        """Show the progress of the running stage."""
        stage = self._stages[-1] if self._stages else Stage(description.capitalize(), self._now())
        outside = not self._stages
        if outside:
            self._stages.append(stage)
        stage.doing, stage.total, stage.unit = description, total, unit
        stage.done, stage.first, stage.facts = 0.0, None, ()
        try:
            yield _ScreenBar(stage, self._now)
        finally:
            stage.finished[unit] += round(stage.done)
            stage.total = 0.0
            if outside:
                self._stages.remove(stage)

    def render(self) -> Table:
        """Draw the live line, at most as wide as the terminal."""
        line = Table.grid(padding=(0, 1))
        if not self._stages:
            return line
        stage, now = self._stages[-1], self._now()
        room = self._console.width - _TITLE_WIDTH - 5  # the spinner and the gaps
        text = fitting(stage.describe(now), room)
        title = set_cell_size(stage.title, _TITLE_WIDTH)
        width = min(_LONGEST_BAR, room - cell_len(text))
        if stage.total and width >= _LEAST_BAR:
            bar = ProgressBar(stage.total, min(stage.done, stage.total), width=width)
            line.add_row(self._spinner, title, bar, text)
        else:
            line.add_row(self._spinner, title, text)
        return line

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show stages, bars and warnings while the block runs."""
        with _log_on(self._console), self._live, watched_by(self), shown_on(self):
            yield


class _ScreenBar:
    def __init__(self, stage: Stage, now: Callable[[], float]) -> None:
        self._stage = stage
        self._now = now

    def advance(self, amount: float) -> None:
        self._stage.advance(amount, self._now())

    def expect(self, total: float) -> None:
        self._stage.total = total

    def say(self, *facts: str) -> None:
        self._stage.facts = facts


class _ScreenHandler(logging.Handler):
    """Print log records above the live line, except Prefect's messages about each task run."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console
        self.addFilter(lambda record: record.levelno >= logging.WARNING or not record.name.startswith("prefect"))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            style = "red" if record.levelno >= logging.ERROR else "yellow" if record.levelno >= logging.WARNING else ""
            kind = f"{record.levelname.lower()}: " if style else ""
            self._console.print(Text(f"{kind}{masked(self.format(record))}", style=style), soft_wrap=True)
        except Exception:
            self.handleError(record)


@contextmanager
def _log_on(console: Console) -> Iterator[None]:
    """Replace Prefect's console handler by the screen while the block runs."""
    root = logging.getLogger()
    before = root.handlers[:]
    root.handlers = [*(each for each in before if not isinstance(each, PrefectConsoleHandler)), _ScreenHandler(console)]
    try:
        yield
    finally:
        root.handlers = before
