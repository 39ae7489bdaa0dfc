"""Start and end of a segment of a recording, parsed from the cells of a table."""

from __future__ import annotations

import math
from typing import NamedTuple


class Bounds(NamedTuple):
    """Start and end of a segment; both are None for a whole file."""

    start_seconds: float | None
    end_seconds: float | None  # None: to the end of the file
    suffix: str  # appended to the clip's id
    reason: str | None
    detail: str | None


def read_bounds(start: str | None, end: str | None) -> Bounds:
    """Parse the start and end cells of a segment; None is an empty cell."""
    if start is None and end is None:
        return Bounds(None, None, "", None, None)
    first, last = _seconds(start or "0"), _seconds(end) if end else math.inf
    if first is None or last is None:
        key, text = ("start", start) if first is None else ("end", end)
        return _bad(start, end, f"the {key}, {text!r}, is not a number of seconds")
    if first < 0:
        return _bad(start, end, f"the start, {first:g} s, is negative")
    if last <= first:
        return _bad(start, end, f"the end, {last:g} s, is not after the start, {first:g} s")
    shown = "end" if math.isinf(last) else _shown(last)
    return Bounds(first, None if math.isinf(last) else last, f"@{_shown(first)}-{shown}", None, None)


def _seconds(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and "_" not in text else None


def _shown(seconds: float) -> str:
    """Format with two decimals, as in 12.50, or with all digits if two would lose precision."""
    short = f"{seconds:.2f}"
    return short if float(short) == seconds else repr(seconds)


def _bad(start: str | None, end: str | None, detail: str) -> Bounds:
    return Bounds(None, None, f"@{start or '0.00'}-{end or 'end'}", "bad_segment", detail)
