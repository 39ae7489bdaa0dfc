"""A screen for tests that keeps what the bars of the library were told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class RecordedBar:
    unit: str
    total: float
    done: float = 0.0

    def advance(self, amount: float) -> None:
        self.done += amount

    def expect(self, total: float) -> None:
        self.total = total

    def say(self, *facts: str) -> None:
        pass


@dataclass
class RecordedBars:
    bars: list[RecordedBar] = field(default_factory=list)

    @contextmanager
    def bar(self, description: str, total: float, unit: str) -> Iterator[RecordedBar]:
        self.bars.append(RecordedBar(unit, total))
        yield self.bars[-1]
