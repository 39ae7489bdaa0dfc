from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, strategies as st

from audiocls.balance.draws import EpochSampler, apportion, draw, wanted_counts
from audiocls.errors import BalanceError
from audiocls.params.balance import Oversample, Progressive, SquareRoot, Undersample

COUNTS = {"a": 60, "b": 12, "c": 3}
LABELS = np.repeat(list(COUNTS), list(COUNTS.values()))
OVERSAMPLE, UNDERSAMPLE = Oversample(method="oversample"), Undersample(method="undersample")
SQUARE_ROOT, PROGRESSIVE = SquareRoot(method="square_root"), Progressive(method="progressive")


def sampler(params, seed=1, epochs=5.0, max_clips=None):
    return EpochSampler(LABELS, params, seed, epochs=epochs, max_clips=max_clips)


def epoch(drawing, number):
    """The clips of an epoch; which of its copies each is, is checked, and left out."""
    drawing.set_epoch(number)
    drawn = list(drawing)
    assert len(set(drawn)) == len(drawn)
    clips = [index % len(LABELS) for index in drawn]
    assert Counter(clips) == Counter({i: n for i, n in Counter(clips).items() if i + (n - 1) * len(LABELS) in drawn})
    return clips


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        (OVERSAMPLE, {"a": 60, "b": 60, "c": 60}),
        (Oversample(method="oversample", ratio=0.5), {"a": 60, "b": 30, "c": 30}),
        (Oversample(method="oversample", counts={"c": 7}), {"a": 60, "b": 12, "c": 7}),
        (UNDERSAMPLE, {"a": 3, "b": 3, "c": 3}),
        (Undersample(method="undersample", ratio=0.1), {"a": 30, "b": 12, "c": 3}),
        (Undersample(method="undersample", counts={"a": 20}), {"a": 20, "b": 12, "c": 3}),
        # 75 clips by the square roots 7.75, 3.46 and 1.73.
        (SQUARE_ROOT, {"a": 45, "b": 20, "c": 10}),
        (PROGRESSIVE, {"a": 25, "b": 25, "c": 25}),
    ],
)
def test_the_counts_are_those_that_the_method_stands_for(params, expected):
    assert wanted_counts(COUNTS, params) == expected


@given(
    counts=st.lists(st.integers(1, 500), min_size=2, max_size=8).map(lambda n: dict(zip("abcdefgh", n, strict=False))),
    percent=st.integers(1, 100),
)
def test_a_ratio_is_taken_as_it_is_written(counts, percent):
    """In whole numbers: 7 % of 100 clips are 7, where floats make 8 of it."""
    ratio, most, fewest = percent / 100, max(counts.values()), min(counts.values())
    more = wanted_counts(counts, Oversample(method="oversample", ratio=ratio))
    assert more == {name: max(count, -(-percent * most // 100)) for name, count in counts.items()}
    fewer = wanted_counts(counts, Undersample(method="undersample", ratio=ratio))
    assert fewer == {name: min(count, 100 * fewest // percent) for name, count in counts.items()}


@given(counts=st.lists(st.integers(1, 60), min_size=2, max_size=8), extra=st.integers(0, 100), data=st.data())
def test_counts_are_met_for_the_named_classes_and_the_others_stay(counts, extra, data):
    there = dict(zip("abcdefgh", counts, strict=False))
    named = data.draw(st.sets(st.sampled_from(sorted(there)), min_size=1))
    more = {name: there[name] + extra for name in named}
    assert wanted_counts(there, Oversample(method="oversample", counts=more)) == there | more
    fewer = {name: max(1, there[name] - extra) for name in named}
    assert wanted_counts(there, Undersample(method="undersample", counts=fewer)) == there | fewer


def test_progressive_begins_with_the_classes_as_they_are_and_passes_through_the_middle():
    assert wanted_counts(COUNTS, PROGRESSIVE, 0.0) == COUNTS
    # (60 + 25) / 2, (12 + 25) / 2, (3 + 25) / 2
    middle = wanted_counts(COUNTS, PROGRESSIVE, 0.5)
    assert sum(middle.values()) == 75
    assert np.abs(np.array(list(middle.values())) - [42.5, 18.5, 14]).max() <= 0.5


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (Oversample(method="oversample", counts={"a": 10}), "'a': 10 of 60"),
        (Oversample(method="oversample", counts={"d": 10}), "names 'd', which have no training clips"),
        (Undersample(method="undersample", counts={"c": 10}), "'c': 10 of 3"),
        (Undersample(method="undersample", counts={"c": 0}), "'c': 0 of 3"),
        (Undersample(method="undersample", counts={"d": 1}), "names 'd', which have no training clips"),
    ],
)
def test_counts_that_do_not_fit_the_classes_are_refused_by_name(params, message):
    with pytest.raises(BalanceError, match=message):
        wanted_counts(COUNTS, params)


@given(
    total=st.integers(30, 100_000),
    shares=st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=30).map(np.array),
)
def test_parts_add_up_leave_none_out_and_are_within_one_clip_of_their_shares(total, shares):
    parts = apportion(total, shares)
    assert parts.sum() == total
    assert parts.min() >= 1
    ideal = total * shares / shares.sum()
    if ideal.min() >= 1:
        assert np.abs(parts - ideal).max() < 1 + 1e-6


def test_no_clip_is_repeated_twice_more_often_than_another_of_its_class():
    times = Counter(draw(LABELS, {"a": 60, "b": 30, "c": 60}, np.random.default_rng(0)).tolist())
    for members in (range(60), range(60, 72), range(72, 75)):
        seen = [times[i] for i in members]
        assert max(seen) - min(seen) <= 1
        assert min(seen) >= 1


@pytest.mark.parametrize(
    "params",
    # 30 clips of b are each of its 12 twice, and 6 that are drawn.
    [Oversample(method="oversample", ratio=0.5), UNDERSAMPLE, SQUARE_ROOT, PROGRESSIVE],
    ids=lambda p: p.method,
)
def test_each_epoch_draws_anew_as_the_seed_and_its_number_say(params):
    drawing = sampler(params)
    epochs = [epoch(drawing, number) for number in range(3)]
    assert [epoch(sampler(params), number) for number in (2, 0, 1)] == [epochs[2], epochs[0], epochs[1]]
    assert len({tuple(sorted(drawn)) for drawn in epochs}) == 3
    assert epoch(sampler(params, seed=2), 0) != epochs[0]
    assert {len(drawn) for drawn in epochs} == {len(drawing)}


@pytest.mark.parametrize(
    ("epochs", "max_clips", "last"),
    [(5.0, None, 4), (4.2, None, 4), (9.0, 75 * 5, 4), (9.0, 75 * 4 + 1, 4)],
)
def test_progressive_reaches_all_classes_alike_in_the_last_epoch(epochs, max_clips, last):
    drawing = sampler(PROGRESSIVE, epochs=epochs, max_clips=max_clips)
    counted = [Counter(LABELS[epoch(drawing, number)]) for number in range(last + 1)]
    assert counted[0] == COUNTS
    assert counted[last - 1] != counted[last] == {"a": 25, "b": 25, "c": 25}


def test_progressive_needs_two_epochs():
    with pytest.raises(BalanceError, match="Train for at least 2"):
        sampler(PROGRESSIVE, epochs=1.0)


@pytest.mark.parametrize("params", [OVERSAMPLE, UNDERSAMPLE, SQUARE_ROOT, PROGRESSIVE], ids=lambda p: p.method)
def test_one_class_cannot_be_resampled(params):
    with pytest.raises(BalanceError, match="all 2 training clips are of the class 'a'"):
        wanted_counts({"a": 2}, params)
