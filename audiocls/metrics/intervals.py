"""95 % intervals of scores on clips that come in groups, from one seed or several.

Clips of one speaker or one recording are right or wrong together, so the number of groups and not of clips says how
precise a score is. Each group is left out once (the jackknife over clusters), and the interval is that of Student's t
with one degree of freedom fewer than there are groups, or with their effective number where some are much larger than
others. With several seeds, the groups and the seeds are crossed: the variance between seeds is estimated next to the
one between groups, and the interval holds for other groups and other seeds. With one seed it holds for that model on
other groups.

`docs/intervals.md` says how often these intervals cover the true score, and how bootstrap intervals compare.

Source:
    MacKinnon, Nielsen and Webb 2023, "Fast and Reliable Jackknife and Bootstrap Methods for Cluster-Robust Inference",
    arXiv:2301.04527, for the jackknife; Carter, Schnepel and Steigerwald 2017, "Asymptotic Behavior of a t-Test Robust
    to Cluster Heterogeneity", Review of Economics and Statistics 99, for the effective number; Howe 1974, "Approximate
    Confidence Limits on the Mean of X + Y Where X and Y Are Two Tabled Independent Random Variables", Journal of the
    American Statistical Association 69, for the two variances.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from scipy.stats import rankdata, t as student

FEWEST_GROUPS: Final = 5
"""With fewer groups the intervals of scores cover less often than they say, and there is none."""

FEWEST_EFFECTIVE_GROUPS: Final = 1.5
"""Nor is there one where one group has nearly all clips."""

_TAIL: Final = 0.975
# Counts that are held at a time while groups are left out: 80 MB of each kind.
_MOST_COUNTS: Final = 10_000_000

Floats = NDArray[np.float64]
Metric = Callable[[Floats, Floats, Floats], Floats]
"""Takes the clips of each class, those predicted to be of it, and those of it predicted rightly, each
(..., num_classes); returns (...,), NaN where no class has clips."""


@dataclass(frozen=True, slots=True)
class Jackknife:
    """A score of each seed on all groups, and without each group."""

    whole: Floats  # (..., num_seeds)
    without: Floats  # (..., num_seeds, num_groups)
    effective_groups: Any
    """Groups of equal size that would say as much, `sum(clips)^2 / sum(clips^2)`: float, or (...,)."""

    def minus(self, other: Jackknife) -> Jackknife:
        """Return the difference to another system on the same groups and seeds; what both share cancels."""
        return Jackknife(self.whole - other.whole, self.without - other.without, self.effective_groups)


@dataclass(frozen=True, slots=True)
class Interval:
    """A score, the mean over the seeds, and its 95 % interval, whose ends are NaN where the groups are too few."""

    value: Any  # float, or (...,)
    low: Any
    high: Any


@dataclass(frozen=True, slots=True)
class GroupCounts:
    """What counts of a system's predictions, by group; arrays that broadcast against each other."""

    true: NDArray[Any]  # (..., num_groups, num_classes), clips of each class
    found: NDArray[Any]  # clips predicted to be of it
    right: NDArray[Any]  # clips of it that are predicted rightly

    @classmethod
    def of(
        cls, targets: NDArray[np.int64], predicted: NDArray[np.int64], groups: NDArray[Any], num_classes: int
    ) -> GroupCounts:
        """Count the predictions of each seed.

        Args:
            targets: Class indices, shape (num_clips,).
            predicted: Class indices, shape (num_seeds, num_clips).
            groups: Of the clips, of any type, shape (num_clips,).
            num_classes: How many there are.

        Returns:
            Counts of shape (num_seeds, num_groups, num_classes), those of the true classes (1, ...).
        """
        names, group = np.unique(groups, return_inverse=True)
        shape = len(names), num_classes

        def count(classes: NDArray[np.int64], of: NDArray[np.int64]) -> NDArray[np.int32]:
            cells = np.bincount(of * num_classes + classes, minlength=shape[0] * shape[1])
            return cells.reshape(shape).astype(np.int32)

        found = np.stack([count(each, group) for each in predicted])
        right = np.stack([count(targets[each == targets], group[each == targets]) for each in predicted])
        return cls(count(targets, group)[None], found, right)

    def of_classes(self, classes: NDArray[np.int64]) -> GroupCounts:
        """Return the counts of some classes."""
        return GroupCounts(self.true[..., classes], self.found[..., classes], self.right[..., classes])

    def score(self, metric: Metric) -> Floats:
        """Score all groups together, (...,)."""
        return metric(*(each.sum(axis=-2, dtype=np.float64) for each in (self.true, self.found, self.right)))

    def score_without_each(self, metric: Metric) -> Floats:
        """Score what is left without each group, (..., num_groups)."""
        counted = (self.true, self.found, self.right)
        totals = [each.sum(axis=-2, keepdims=True, dtype=np.float64) for each in counted]
        num_groups = self.true.shape[-2]
        at_a_time = max(1, _MOST_COUNTS * num_groups // max(each.size for each in counted))
        parts = [slice(start, start + at_a_time) for start in range(0, num_groups, at_a_time)]
        left = (
            metric(*(total - each[..., part, :] for total, each in zip(totals, counted, strict=True))) for part in parts
        )
        return np.concatenate(list(left), axis=-1)


def accuracy(true: Floats, found: Floats, right: Floats) -> Floats:
    """Return the fraction of the clips that are predicted rightly."""
    clips = true.sum(axis=-1)
    return np.where(clips > 0, right.sum(axis=-1) / np.maximum(clips, 1), np.nan)


def balanced_accuracy(true: Floats, found: Floats, right: Floats) -> Floats:
    """Return the mean recall over the classes that have clips."""
    return mean_where(right / np.maximum(true, 1), true > 0)


def f1_macro(true: Floats, found: Floats, right: Floats) -> Floats:
    """Return the mean F1 over the classes that have clips."""
    return mean_where(2 * right / np.maximum(true + found, 1), true > 0)


def mean_where(values: Floats, there: NDArray[np.bool_]) -> Floats:
    """Return the mean over the last axis of what is there, NaN where nothing is."""
    number = np.broadcast_to(there, values.shape).sum(axis=-1)
    total = np.where(there, values, 0).sum(axis=-1)
    mean: Floats = np.where(number > 0, total / np.maximum(number, 1), np.nan)
    return mean


def jackknife(counts: GroupCounts, metric: Metric) -> Jackknife:
    """Leave each group out once; the axis before the groups is that of the seeds.

    A score that no class is left for, such as one of rare classes without the only group that has them, stays as it is.
    """
    whole = counts.score(metric)
    without = counts.score_without_each(metric)
    effective = _effective_number(counts.true.sum(axis=-1, dtype=np.float64).max(axis=-2))
    return Jackknife(whole, np.where(np.isnan(without), whole[..., None], without), effective)


def _effective_number(clips: Floats) -> Any:
    return clips.sum(axis=-1) ** 2 / np.maximum((clips**2).sum(axis=-1), 1)


def jackknife_auroc(scores: Floats, positive: NDArray[np.bool_], groups: NDArray[Any]) -> Jackknife:
    """Leave each group out of the area under the ROC curve, in n log n.

    Args:
        scores: Higher where the class is more likely, shape (num_seeds, num_clips).
        positive: Which clips are of the class, shape (num_clips,).
        groups: Of the clips, shape (num_clips,).

    Returns:
        Areas, in which a tie is worth half; NaN where all clips or none are positive.
    """
    names, group = np.unique(groups, return_inverse=True)
    found = [_area_without_each(each, positive, group, len(names)) for each in scores]
    whole = np.array([area for area, _ in found])
    without = np.stack([left for _, left in found])
    clips = np.bincount(group).astype(np.float64)
    return Jackknife(whole, np.where(np.isnan(without), whole[:, None], without), _effective_number(clips))


def _area_without_each(
    scores: Floats, positive: NDArray[np.bool_], group: NDArray[np.int64], num_groups: int
) -> tuple[float, Floats]:
    """Return the area, and that without each group: pairs of a group's clips with others are taken off, (groups,)."""
    order = np.unique(scores, return_inverse=True)[1]

    def beaten(key: NDArray[np.int64]) -> Floats:
        """Count for each clip those of the other kind whose key is lower, ties half; (num_clips,)."""
        ranks, own = rankdata(key), np.empty(len(key))
        for kind in (positive, ~positive):
            own[kind] = rankdata(key[kind])
        lower: Floats = ranks - own
        return lower

    lower = beaten(order)
    positives, negatives = positive.sum(), (~positive).sum()
    pairs = np.where(positive, lower, positives - lower)  # that each clip is part of and that are in the right order
    # Of two groups, all clips of the earlier one have the lower keys.
    inside = beaten(group * (order.max() + 1) + order)
    negatives_of = np.bincount(group, ~positive, minlength=num_groups)
    positives_of = np.bincount(group, positive, minlength=num_groups)
    earlier = np.cumsum(negatives_of) - negatives_of
    within = np.bincount(group[positive], (inside - earlier[group])[positive], minlength=num_groups)
    taken = np.bincount(group, pairs, minlength=num_groups) - within
    total = lower[positive].sum()
    left = (positives - positives_of) * (negatives - negatives_of)
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(total / (positives * negatives)), np.where(left > 0, (total - taken) / left, np.nan)


def interval(scores: Jackknife, *, fraction: bool = False) -> Interval:
    """Return the 95 % interval of the mean over the seeds.

    Args:
        scores: Of one system, or the difference of two.
        fraction: The score lies in [0, 1], as that of one system does: the interval is taken on the scale of the
            log-odds, and stays inside. A score of 0 or 1 on which all groups agree gets the exact bound of as many
            independent trials as there are effective groups.
    """
    value = scores.whole.mean(axis=-1)
    num_groups = scores.without.shape[-1]
    few = np.less(scores.effective_groups, FEWEST_EFFECTIVE_GROUPS) | (num_groups < FEWEST_GROUPS)
    half = np.where(few, np.nan, _half_width(scores))
    if not fraction:
        return Interval(value, value - half, value + half)
    inside = np.clip(value, 1e-9, 1 - 1e-9)
    spread = half / (inside * (1 - inside))
    with np.errstate(over="ignore"):
        low, high = expit(logit(inside) - spread), expit(logit(inside) + spread)
    exact = (1 - _TAIL) ** (1 / np.maximum(scores.effective_groups, 1))
    low = np.where((half == 0) & (value >= 1), exact, np.minimum(low, value))
    high = np.where((half == 0) & (value <= 0), 1 - exact, np.maximum(high, value))
    return Interval(value, low, high)


def _half_width(scores: Jackknife) -> Floats:
    """Return half the width of the interval, (...,)."""
    num_seeds, num_groups = scores.without.shape[-2:]
    # The influence of each group on each seed's score; the squares' sum over the groups estimates the variance.
    influence = np.sqrt((num_groups - 1) / num_groups) * (scores.without - scores.without.mean(axis=-1, keepdims=True))
    common = influence.mean(axis=-2)
    between_groups = (common**2).sum(axis=-1)
    freedom = np.clip(scores.effective_groups, 1, max(num_groups - 1, 1))
    squares = student.ppf(_TAIL, freedom) ** 2 * between_groups
    if num_seeds > 1:
        between_seeds = scores.whole.var(axis=-1, ddof=1) / num_seeds
        # What groups and seeds do together is in the variance between groups already, and must not count twice. From
        # two seeds nothing is taken off: they are alike by chance too often, and the interval would be too narrow.
        if num_seeds > 2:
            apart = ((influence - common[..., None, :]) ** 2).sum(axis=(-2, -1)) / (num_seeds * (num_seeds - 1))
            between_seeds = np.maximum(between_seeds - apart, 0)
        squares = squares + student.ppf(_TAIL, num_seeds - 1) ** 2 * between_seeds
    half: Floats = np.sqrt(squares)
    return half
