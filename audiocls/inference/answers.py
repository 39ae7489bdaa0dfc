"""The answer on one file, as the journal keeps it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple


class Answer(NamedTuple):
    """The answer on one file, or the reason why there is none."""

    probabilities: Sequence[float] = ()
    """Of the labels; empty if parts were asked for."""
    seconds: float | None = None
    windows: int = 0
    reason: str | None = None
    detail: str | None = None
    parts: Sequence[Sequence[Any]] = ()
    """Fields of each `Segment`, or start, end and probabilities of each window."""
