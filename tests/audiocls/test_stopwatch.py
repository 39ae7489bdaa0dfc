from __future__ import annotations

import time

import pytest

from audiocls.stopwatch import stage, stopwatch, timed, watched_by


@timed
def fit(steps):
    """Fit."""
    return sum(range(steps))


@timed
def evaluate():
    raise ValueError("no clips")


def test_the_seconds_of_a_stage_stand_under_its_name():
    start = time.perf_counter()
    with stopwatch() as seconds:
        fit(100_000)
    elapsed = time.perf_counter() - start
    assert list(seconds) == ["fit"]
    assert 0 <= seconds["fit"] <= elapsed + 0.001


def test_a_stage_called_twice_counts_both_times():
    with stopwatch() as seconds:
        fit(1)
        seconds["fit"] = 5.0
        fit(1)
    assert seconds["fit"] >= 5.0


def test_the_stage_keeps_its_result_name_and_docstring():
    assert (fit(4), fit.__name__, fit.__doc__) == (6, "fit", "Fit.")


def test_a_stage_that_fails_is_timed_and_its_error_comes_through():
    with stopwatch() as seconds, pytest.raises(ValueError, match="no clips"):
        evaluate()
    assert list(seconds) == ["evaluate"]


def test_nothing_is_collected_outside_of_a_stopwatch():
    with stopwatch() as seconds:
        pass
    fit(1)
    assert seconds == {}


def test_a_stopwatch_in_another_collects_for_itself_and_hands_back():
    with stopwatch() as outer:
        with stopwatch() as inner:
            fit(1)
        with pytest.raises(ValueError, match="no clips"):
            evaluate()
    assert (list(inner), list(outer)) == (["fit"], ["evaluate"])


def test_a_watcher_hears_of_stages_and_their_end_even_of_one_that_fails():
    heard = []

    class Watcher:
        def began(self, name):
            heard.append(("began", name))

        def ended(self, name, seconds):
            heard.append(("ended", name))
            assert seconds >= 0

    def fail():
        with stage("outer"):
            with stage("inner"):
                pass
            raise ValueError("no")

    with watched_by(Watcher()), pytest.raises(ValueError, match="no"):
        fail()
    with stage("unheard"):
        pass
    assert heard == [("began", "outer"), ("began", "inner"), ("ended", "inner"), ("ended", "outer")]
