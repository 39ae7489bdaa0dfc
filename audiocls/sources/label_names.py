"""The names of the columns with labels, and a set of labels as text; needs no pandas."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

LABELS: Final = "labels"
UNKNOWN_LABELS: Final = "unknown"
LABEL_SETS: Final = (LABELS, UNKNOWN_LABELS)
NO_LABEL: Final = "(none)"


def label_text(labels: Iterable[str]) -> str:
    """Return a set of labels as text."""
    return " + ".join(sorted(labels)) or NO_LABEL
