"""The intervals that decide whether something is a finding.

Every diagnosis has an error rate of its own, so that all together find something in at most one of twenty healthy runs:
each decides on one side of a 99 % interval, which ten of them do.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from audiocls.diagnosis.evidence import Answered
from audiocls.metrics import GroupCounts, Interval, Jackknife, interval, jackknife

ERROR_RATE: Final = 0.01
"""Of a two-sided interval, of which a diagnosis uses one side."""

Floats = NDArray[np.float64]


def counted_by_clip(answered: Answered) -> GroupCounts:
    """Count answers with each clip as its own group.

    A score of the clips that a model was trained on describes these groups, so groups are not drawn, only clips.
    """
    return counted(answered, np.arange(len(answered)).astype(str))


def counted(
    answered: Answered, groups: NDArray[np.str_] | None = None, predicted: NDArray[np.int64] | None = None
) -> GroupCounts:
    """Count answers by group, or those of another classifier to the same clips."""
    found = answered.predicted if predicted is None else predicted
    names = answered.groups if groups is None else groups
    return GroupCounts.of(answered.targets, found[None], names, answered.probabilities.shape[1])


class WeightedRecall:
    """A metric: the recall of each class, weighted; classes without clips are left out."""

    def __init__(self, weights: Floats) -> None:
        """Take the weights, shape (num_classes,)."""
        self._weights = weights

    def __call__(self, true: Floats, found: Floats, right: Floats) -> Floats:
        """Return the weighted mean, (...,)."""
        weights = np.where(true > 0, self._weights, 0)
        total = weights.sum(axis=-1)
        recall = right / np.maximum(true, 1)
        return np.where(total > 0, (weights * recall).sum(axis=-1) / np.where(total > 0, total, 1), np.nan)


def decided(scores: Jackknife, *, fraction: bool = False) -> Interval:
    """Return the interval that a diagnosis decides by."""
    return interval(scores, fraction=fraction, error_rate=ERROR_RATE)


def single(found: Interval) -> tuple[float, float, float]:
    """Return value, low and high as numbers."""
    value, low, high = (float(np.squeeze(end)) for end in (found.value, found.low, found.high))
    return value, low, high


def mean_interval(values: Floats) -> Interval:
    """Return the interval of the mean of independent values, by Student's t; NaN with fewer than three."""
    value = float(values.mean()) if len(values) else float("nan")
    if len(values) < 3:
        return Interval(value, float("nan"), float("nan"))
    half = student.ppf(1 - ERROR_RATE / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return Interval(value, value - half, value + half)


def slope_interval(values: Floats) -> Interval:
    """Return the interval of the slope of values over their order, from 0 to 1; NaN with fewer than four."""
    number = len(values)
    if number < 4:
        return Interval(float("nan"), float("nan"), float("nan"))
    places = np.linspace(0, 1, number) - 0.5
    slope = float(places @ values / (places @ places))
    rest = values - values.mean() - slope * places
    error = float(np.sqrt(rest @ rest / (number - 2) / (places @ places)))
    half = student.ppf(1 - ERROR_RATE / 2, number - 2) * error
    return Interval(slope, slope - half, slope + half)


def grouped_mean(values: Floats, groups: NDArray[np.str_]) -> Interval:
    """Return the interval of the mean of clips' values over groups."""
    group = np.unique(groups, return_inverse=True)[1]
    sums, clips = np.bincount(group, values), np.bincount(group).astype(np.float64)
    whole = np.array([sums.sum() / clips.sum()])
    rest = clips.sum() - clips
    without = np.where(rest > 0, (sums.sum() - sums) / np.maximum(rest, 1), whole)
    return decided(Jackknife(whole, without[None], clips.sum() ** 2 / (clips**2).sum()))


def jackknifed(counts: GroupCounts, weights: Floats) -> Jackknife:
    """Return a weighted recall without each group."""
    return jackknife(counts, WeightedRecall(weights))
