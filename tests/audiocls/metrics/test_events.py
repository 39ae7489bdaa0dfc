from __future__ import annotations

from itertools import permutations
from typing import NamedTuple

import pytest
from hypothesis import given, settings, strategies as st

from audiocls.metrics.events import EventScores, event_f1


class Event(NamedTuple):
    label: str
    start_seconds: float
    end_seconds: float


def events(draw_from: str = "ab", most: int = 5):
    start = st.integers(0, 40).map(lambda n: n / 10)
    length = st.integers(1, 20).map(lambda n: n / 10)
    one = st.tuples(st.sampled_from(draw_from), start, length).map(lambda e: Event(e[0], e[1], e[1] + e[2]))
    return st.lists(one, max_size=most)


def is_match(true: Event, found: Event, collar: float, fraction: float) -> bool:
    late = max(collar, fraction * (true.end_seconds - true.start_seconds))
    return (
        true.label == found.label
        and abs(true.start_seconds - found.start_seconds) <= collar + 1e-9
        and abs(true.end_seconds - found.end_seconds) <= late + 1e-9
    )


def most_matches(true: list[Event], found: list[Event], collar: float, fraction: float) -> int:
    """Try every assignment of the shorter list to the longer one."""
    if len(found) < len(true):
        pairs = ([(true[i], f) for i, f in zip(order, found, strict=False)] for order in permutations(range(len(true))))
    else:
        pairs = (
            [(t, found[i]) for i, t in zip(order, true, strict=False)] for order in permutations(range(len(found)))
        )
    return max(sum(is_match(t, f, collar, fraction) for t, f in each) for each in pairs)


@settings(max_examples=150, deadline=None)
@given(true=events(), found=events(), collar=st.sampled_from([0.1, 0.2, 0.5]), fraction=st.sampled_from([0.0, 0.5]))
def test_counts_are_those_of_the_best_of_all_assignments(true, found, collar, fraction):
    hits = most_matches(true, found, collar, fraction)
    expected = EventScores(hits, len(found) - hits, len(true) - hits)
    assert event_f1([true], [found], collar, fraction) == expected


def test_recordings_are_counted_together_and_matched_apart():
    here, there = [Event("a", 0, 1)], [Event("a", 0, 1), Event("b", 2, 3)]
    scores = event_f1([here, []], [[], there])
    assert (scores.true_positives, scores.false_positives, scores.false_negatives) == (0, 2, 1)
    assert event_f1([here, there], [here, there]).f1 == 1.0


def test_a_true_event_is_matched_once():
    scores = event_f1([[Event("a", 0, 1)]], [[Event("a", 0, 1), Event("a", 0.1, 1)]])
    assert (scores.precision, scores.recall) == (0.5, 1.0)
    assert scores.f1 == pytest.approx(2 / 3)


def test_nothing_found_of_nothing_is_right_and_of_something_wrong():
    assert event_f1([[]], [[]]).f1 == 1.0
    assert event_f1([[Event("a", 0, 1)]], [[]]).f1 == 0.0
