"""Event F1: segments found against segments that are there, as in sed_eval and the DCASE challenges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Event(Protocol):
    """A stretch of a recording with a label."""

    @property
    def label(self) -> str:
        """Its class."""

    @property
    def start_seconds(self) -> float:
        """Its onset."""

    @property
    def end_seconds(self) -> float:
        """Its offset."""


@dataclass(frozen=True, slots=True)
class EventScores:
    """How many events were found, over all recordings and labels."""

    true_positives: int
    false_positives: int
    false_negatives: int

    @property
    def precision(self) -> float:
        """Fraction of the found events that are there; 0 if none was found."""
        return self.true_positives / max(self.true_positives + self.false_positives, 1)

    @property
    def recall(self) -> float:
        """Fraction of the true events that were found; 0 if there are none."""
        return self.true_positives / max(self.true_positives + self.false_negatives, 1)

    @property
    def f1(self) -> float:
        """Harmonic mean of both; 1 if there is nothing to be found and nothing was."""
        total = 2 * self.true_positives + self.false_positives + self.false_negatives
        return 2 * self.true_positives / total if total else 1.0


def event_f1(
    true: Sequence[Sequence[Event]],
    found: Sequence[Sequence[Event]],
    collar_seconds: float = 0.2,
    offset_fraction: float = 0.5,
) -> EventScores:
    """Match the events of each recording one to one, as many as can be, and count them.

    A found event matches a true one of its label if the onsets are within the collar, and the offsets within the
    collar or `offset_fraction` of the true event's length, whichever is longer.

    Args:
        true: The events of each recording.
        found: Those that were found in the same recordings.
        collar_seconds: By how much times may differ.
        offset_fraction: Of the length of the true event.
    """
    hits = sum(
        _most_matches(_may_match(one, other, collar_seconds, offset_fraction))
        for one, other in zip(true, found, strict=True)
    )
    return EventScores(hits, sum(map(len, found)) - hits, sum(map(len, true)) - hits)


def _may_match(
    true: Sequence[Event], found: Sequence[Event], collar_seconds: float, offset_fraction: float
) -> NDArray[np.bool_]:
    """Return which pairs may be matched, shape (num_true, num_found)."""
    rounding = 1e-9  # of times that were computed from samples
    starts, ends = (
        np.array([[getattr(event, name) for event in events] for events in (true,)], float).reshape(-1, 1)
        for name in ("start_seconds", "end_seconds")
    )
    other_starts, other_ends = (
        np.array([getattr(event, name) for event in found], float).reshape(1, -1)
        for name in ("start_seconds", "end_seconds")
    )
    collars = np.maximum(collar_seconds, offset_fraction * (ends - starts))
    same = np.array([event.label for event in true], object).reshape(-1, 1) == np.array(
        [event.label for event in found], object
    ).reshape(1, -1)
    return (
        same
        & (np.abs(starts - other_starts) <= collar_seconds + rounding)
        & (np.abs(ends - other_ends) <= collars + rounding)
    )


def _most_matches(allowed: NDArray[np.bool_]) -> int:
    """Return the size of the largest one-to-one matching."""
    if not allowed.any():
        return 0
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_bipartite_matching

    return int((maximum_bipartite_matching(csr_array(allowed.astype(np.int8)), perm_type="column") >= 0).sum())
