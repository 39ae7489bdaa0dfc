"""Intervals against closed forms, and how often they cover; `benchmarks/intervals.py` is the large table."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, roc_auc_score

from audiocls.metrics import intervals
from audiocls.metrics.intervals import (
    GroupCounts,
    Jackknife,
    accuracy,
    balanced_accuracy,
    f1_macro,
    interval,
    jackknife,
    jackknife_auroc,
)

CLASSES = 3


def clips(num_groups, num_seeds=1, size=12, seed=0):
    """(targets, predicted (num_seeds, num_clips), groups) of groups that are alike in how often they are right."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(num_groups), size)
    targets = rng.integers(CLASSES, size=len(groups))
    ease = rng.normal(1, 1, num_groups)[groups]
    right = rng.random((num_seeds, len(groups))) < 1 / (1 + np.exp(-ease))
    return targets, np.where(right, targets, (targets + 1) % CLASSES), groups.astype(str)


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (accuracy, accuracy_score),
        (balanced_accuracy, balanced_accuracy_score),
        (f1_macro, lambda true, found: f1_score(true, found, average="macro")),
    ],
    ids=["accuracy", "balanced_accuracy", "f1_macro"],
)
def test_scores_whole_and_without_each_group_are_those_of_scikit_learn(metric, expected, monkeypatch):
    monkeypatch.setattr(intervals, "_MOST_COUNTS", 30)  # so that groups are left out a few at a time
    targets, predicted, groups = clips(9, 2)
    found = jackknife(GroupCounts.of(targets, predicted, groups, CLASSES), metric)
    for seed in range(2):
        assert found.whole[seed] == pytest.approx(expected(targets, predicted[seed]))
        for i, name in enumerate(np.unique(groups)):
            rest = groups != name
            assert found.without[seed, i] == pytest.approx(expected(targets[rest], predicted[seed][rest]))


@pytest.mark.parametrize("decimals", [1, 6], ids=["many ties", "no ties"])
def test_areas_whole_and_without_each_group_are_those_of_scikit_learn(decimals):
    rng = np.random.default_rng(1)
    groups, positive = rng.integers(7, size=90), rng.random(90) < 0.3
    scores = np.round(rng.normal(size=(2, 90)) + positive, decimals)
    found = jackknife_auroc(scores, positive, groups)
    for seed in range(2):
        assert found.whole[seed] == pytest.approx(roc_auc_score(positive, scores[seed]))
        for i in range(7):
            rest = groups != i
            assert found.without[seed, i] == pytest.approx(roc_auc_score(positive[rest], scores[seed][rest]))


def test_of_groups_of_one_size_the_interval_of_accuracy_is_that_of_students_t():
    targets, predicted, groups = clips(8)
    by_group = (targets == predicted[0]).reshape(8, -1).mean(axis=1)
    found = interval(jackknife(GroupCounts.of(targets, predicted, groups, CLASSES), accuracy))
    expected = stats.t.interval(0.95, 7, by_group.mean(), by_group.std(ddof=1) / np.sqrt(8))
    np.testing.assert_allclose([found.low, found.high], expected)


def test_a_group_with_half_of_the_clips_costs_degrees_of_freedom():
    sizes = np.array([1000, *[100] * 10])
    groups = np.repeat(np.arange(11), sizes)
    targets = np.zeros(len(groups), np.int64)
    predicted = (np.random.default_rng(0).random(len(groups)) < 0.2).astype(np.int64)[None]
    counted = jackknife(GroupCounts.of(targets, predicted, groups, 2), accuracy)
    assert counted.effective_groups == pytest.approx(2000**2 / (1000**2 + 10 * 100**2))
    found, even = interval(counted), interval(Jackknife(counted.whole, counted.without, 11.0))
    expected = stats.t.ppf(0.975, counted.effective_groups) / stats.t.ppf(0.975, 10)
    assert (found.high - found.low) / (even.high - even.low) == pytest.approx(expected)


@pytest.mark.parametrize(("num_groups", "has"), [(4, False), (5, True)])
def test_there_is_no_interval_of_too_few_groups(num_groups, has):
    targets, predicted, groups = clips(num_groups)
    found = interval(jackknife(GroupCounts.of(targets, predicted, groups, CLASSES), f1_macro), fraction=True)
    assert np.isfinite(found.value).all()
    assert np.isfinite([found.low, found.high]).all() == has


def test_there_is_no_interval_where_one_group_has_nearly_all_clips():
    groups = np.array(["large"] * 900 + list("abcdefghij"))
    targets = np.zeros(910, np.int64)
    predicted = (np.arange(910) % 5 == 0).astype(np.int64)[None]
    found = interval(jackknife(GroupCounts.of(targets, predicted, groups, 2), accuracy))
    assert np.isnan([found.low, found.high]).all()


def test_systems_that_answer_alike_differ_by_exactly_nothing():
    counts = jackknife(GroupCounts.of(*clips(6, 3), CLASSES), f1_macro)
    found = interval(counts.minus(counts))
    assert (found.low, found.value, found.high) == (0, 0, 0)


def test_a_perfect_score_leaves_open_what_as_many_trials_as_groups_do():
    """Of n successes in n trials the 95 % bound of Clopper and Pearson is the n-th root of 0.025."""
    targets, _, groups = clips(20)
    perfect, none_right = (
        interval(jackknife(GroupCounts.of(targets, given[None], groups, CLASSES), accuracy), fraction=True)
        for given in (targets, (targets + 1) % CLASSES)
    )
    assert (perfect.low, perfect.high) == (pytest.approx(0.025 ** (1 / 20)), pytest.approx(1))
    assert (none_right.low, none_right.high) == (pytest.approx(0), pytest.approx(1 - 0.025 ** (1 / 20)))


def covered(found):
    """How often the intervals hold a truth of 0."""
    return np.mean((found.low <= 0) & (found.high >= 0))


def crossed(trials, num_groups, num_seeds, of_seeds, of_groups, of_both, rng):
    """A mean of 0 over crossed seeds and groups, as scores whose groups are of one size."""
    values = of_seeds * rng.normal(size=(trials, num_seeds, 1)) + of_groups * rng.normal(size=(trials, 1, num_groups))
    values = values + of_both * rng.normal(size=(trials, num_seeds, num_groups))
    total = values.sum(axis=-1, keepdims=True)
    return Jackknife(values.mean(axis=-1), (total - values) / (num_groups - 1), float(num_groups))


@pytest.mark.parametrize("num_groups", [5, 20, 100])
@pytest.mark.parametrize("num_seeds", [1, 3, 5, 10])
@pytest.mark.parametrize("of_seeds", [0.0, 0.1, 0.3])
def test_intervals_cover_in_93_to_97_of_100_trials(num_groups, num_seeds, of_seeds):
    """A verdict is wrong in 5 of 100, whatever the seeds add; 0.014 are three standard errors of 2,000 trials."""
    rng = np.random.default_rng([num_groups, num_seeds])
    drawn = crossed(2_000, num_groups, num_seeds, of_seeds if num_seeds > 1 else 0.0, 1.0, 0.5, rng)
    assert 0.93 - 0.014 <= covered(interval(drawn)) <= 0.97 + 0.014


@pytest.mark.parametrize("of_seeds", [0.0, 0.3, 3.0])
def test_two_seeds_that_differ_have_no_interval(of_seeds):
    found = interval(crossed(100, 20, 2, of_seeds, 1.0, 1.0, np.random.default_rng(2)))
    assert np.isfinite(found.value).all()
    assert np.isnan([found.low, found.high]).all()


def test_two_seeds_that_agree_have_the_interval_of_one():
    drawn = crossed(10, 20, 1, 0.0, 1.0, 0.5, np.random.default_rng(3))
    twice = Jackknife(*(np.repeat(each, 2, axis=1) for each in (drawn.whole, drawn.without)), 20.0)
    once, both = interval(drawn), interval(twice)
    np.testing.assert_array_equal((once.low, once.high), (both.low, both.high))


def test_of_two_seeds_the_rule_for_more_would_call_too_much_different(monkeypatch):
    """Two seeds are often closer than their variance says, and are then taken for seeds that do not vary."""
    monkeypatch.setattr(intervals, "FEWEST_SEEDS", 2)
    for of_seeds, of_groups, low, high in ((0.0, 1.0, 0.94, 0.97), (0.7, 0.0, 0.85, 0.92)):
        rng = np.random.default_rng(4)
        found = interval(crossed(2_000, 20, 2, of_seeds, of_groups, 1.0, rng))
        assert low - 0.014 <= covered(found) <= high + 0.014


@pytest.mark.parametrize("num_seeds", [1, 3])
def test_intervals_of_areas_cover_in_93_to_97_of_100_trials(num_seeds):
    """Scores of clips are normal with effects of group, seed and clip, so the area of all groups has a closed form."""
    rng, trials, num_groups, size = np.random.default_rng(num_seeds), 400, 20, 10
    groups, of_seeds = np.repeat(np.arange(num_groups), size), 0.3 if num_seeds > 1 else 0.0
    expected = stats.norm.cdf(1.5 / np.sqrt(2 * (1 + 0.25) + of_seeds**2))
    found = []
    for _ in range(trials):
        positive = rng.random(len(groups)) < 0.4
        scores = rng.normal(size=(num_seeds, len(groups))) + 0.5 * rng.normal(size=num_groups)[groups]
        scores += positive * (1.5 + of_seeds * rng.normal(size=(num_seeds, 1)))
        found.append(interval(jackknife_auroc(scores, positive, groups), fraction=True))
    covers = [each.low <= expected <= each.high for each in found]
    assert 0.93 - 0.033 <= np.mean(covers) <= 0.97 + 0.026  # three standard errors of 400 trials


def test_a_difference_between_scores_on_different_groups_has_the_interval_of_welch():
    first, second = (jackknifed_accuracy(groups, seed) for groups, seed in ((9, 1), (25, 2)))
    found = interval(first[0].apart_from(second[0]))
    expected = stats.ttest_ind(first[1], second[1], equal_var=False).confidence_interval(0.95)
    assert float(found.value) == pytest.approx(first[1].mean() - second[1].mean())
    # The jackknife of both together counts one degree of freedom less.
    assert float(found.low) == pytest.approx(expected.low, abs=0.005)
    assert float(found.high) == pytest.approx(expected.high, abs=0.005)


def test_a_difference_to_too_few_groups_has_no_interval():
    found = interval(jackknifed_accuracy(20, 1)[0].apart_from(jackknifed_accuracy(4, 2)[0]))
    assert np.isnan(found.low)
    assert np.isnan(found.high)


def test_a_lower_error_rate_gives_a_wider_interval():
    scores = jackknifed_accuracy(12, 1)[0]
    wide, usual = interval(scores, error_rate=0.01), interval(scores)
    ratio = stats.t.ppf(0.995, 11) / stats.t.ppf(0.975, 11)
    assert float(wide.value - wide.low) == pytest.approx(ratio * float(usual.value - usual.low))


def jackknifed_accuracy(num_groups, seed):
    """The jackknife of accuracy on groups of equal size, and the accuracy of each group."""
    targets, predicted, groups = clips(num_groups, seed=seed)
    right = (predicted[0] == targets).reshape(num_groups, -1).mean(axis=1)
    return jackknife(GroupCounts.of(targets, predicted, groups, CLASSES), accuracy), right
