"""95 % intervals of scores on grouped clips, from one or several seeds.

Predictions for clips of the same speaker or recording are correlated, so the precision of a score depends on the number
of groups and not of clips. Each group is left out once (cluster jackknife). The interval uses Student's t with one
degree of freedom fewer than there are groups, or with their effective number if some groups are much larger than
others. With several seeds, groups and seeds are crossed: the variance between seeds is estimated in addition to the
variance between groups, and the interval holds for other groups and other seeds. With one seed it holds for that model
on other groups. With two seeds that differ there is no interval: their variance cannot be estimated.

`docs/intervals.md` reports how often these intervals cover the true score, and compares them with other intervals.

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
"""With fewer groups there is no interval, because its coverage would be below 95 %."""

FEWEST_EFFECTIVE_GROUPS: Final = 1.5
"""With fewer effective groups there is no interval either: one group has nearly all clips."""

FEWEST_SEEDS: Final = 3
"""With two seeds that differ there is no interval: its coverage would be below 93 % or above 97 % for some variances
between seeds, whatever the rule (`benchmarks/interval_bound.py`)."""

ERROR_RATE: Final = 0.05
"""How often an interval misses the true score, unless another rate is asked for."""

# Counts in memory at a time while groups are left out: 80 MB of each kind.
_MOST_COUNTS: Final = 10_000_000

Floats = NDArray[np.float64]
Metric = Callable[[Floats, Floats, Floats], Floats]
"""Takes for each class the number of clips, of predictions and of correct predictions, each (..., num_classes).
Returns (...,), NaN if no class has clips."""


@dataclass(frozen=True, slots=True)
class Jackknife:
    """The score of each seed on all groups, and without each group."""

    whole: Floats  # (..., num_seeds)
    without: Floats  # (..., num_seeds, num_groups)
    effective_groups: Any
    """Equivalent number of groups of equal size, `sum(clips)^2 / sum(clips^2)`: float, or (...,)."""

    def minus(self, other: Jackknife) -> Jackknife:
        """Return the difference to another system on the same groups and seeds; shared variation cancels."""
        return Jackknife(self.whole - other.whole, self.without - other.without, self.effective_groups)

    def apart_from(self, other: Jackknife) -> Jackknife:
        """Return the difference to a score on other groups, each from one seed, with the degrees of freedom of Welch.

        Without enough groups in either, the difference has no interval.
        """
        without = [self.without - other.whole[..., None], self.whole[..., None] - other.without]
        parts = [_variances(self), _variances(other)]
        squares = sum(part.groups**2 / part.freedom for part in parts)
        total = sum(part.groups for part in parts)
        freedom = np.where(squares > 0, total**2 / np.where(squares > 0, squares, 1), parts[1].freedom)
        few = min(each.shape[-1] for each in without) < FEWEST_GROUPS
        return Jackknife(self.whole - other.whole, np.concatenate(without, axis=-1), np.where(few, 1.0, freedom))


@dataclass(frozen=True, slots=True)
class Interval:
    """A score, averaged over the seeds, and its 95 % interval; both ends are NaN with too few groups or seeds."""

    value: Any  # float, or (...,)
    low: Any
    high: Any


@dataclass(frozen=True, slots=True)
class GroupCounts:
    """Counts of a system's predictions by group; the arrays broadcast against each other."""

    true: NDArray[Any]  # (..., num_groups, num_classes), clips of each class
    found: NDArray[Any]  # predictions of the class
    right: NDArray[Any]  # correct predictions of the class

    @classmethod
    def of(
        cls, targets: NDArray[np.int64], predicted: NDArray[np.int64], groups: NDArray[Any], num_classes: int
    ) -> GroupCounts:
        """Count the predictions of each seed.

        Args:
            targets: Class indices, shape (num_clips,).
            predicted: Class indices, shape (num_seeds, num_clips).
            groups: Groups of the clips, of any type, shape (num_clips,).
            num_classes: Number of classes.

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

    @classmethod
    def of_label_sets(cls, true: NDArray[np.bool_], found: NDArray[np.bool_], groups: NDArray[Any]) -> GroupCounts:
        """Count the labels of clips that may have any number of them; the counts have an axis of one seed.

        Args:
            true: Which labels the clips have, shape (num_clips, num_classes).
            found: Which are predicted, the same shape; False where it is not known whether a clip has the label.
            groups: Groups of the clips, shape (num_clips,).
        """
        names, group = np.unique(groups, return_inverse=True)

        def count(labels: NDArray[np.bool_]) -> NDArray[np.int32]:
            sums = np.zeros((len(names), labels.shape[1]), np.int32)
            np.add.at(sums, group, labels)
            return sums[None]

        return cls(count(true), count(found), count(true & found))

    def of_classes(self, classes: NDArray[np.int64]) -> GroupCounts:
        """Return the counts of the given classes."""
        return GroupCounts(self.true[..., classes], self.found[..., classes], self.right[..., classes])

    def score(self, metric: Metric) -> Floats:
        """Score all groups together, (...,)."""
        return metric(*(each.sum(axis=-2, dtype=np.float64) for each in (self.true, self.found, self.right)))

    def score_without_each(self, metric: Metric) -> Floats:
        """Score the other groups when each group is left out, (..., num_groups)."""
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
    """Return the fraction of the clips that are predicted correctly."""
    clips = true.sum(axis=-1)
    return np.where(clips > 0, right.sum(axis=-1) / np.maximum(clips, 1), np.nan)


def balanced_accuracy(true: Floats, found: Floats, right: Floats) -> Floats:
    """Return the mean recall over the classes that have clips."""
    return mean_where(right / np.maximum(true, 1), true > 0)


def f1_macro(true: Floats, found: Floats, right: Floats) -> Floats:
    """Return the mean F1 over the classes that have clips."""
    return mean_where(2 * right / np.maximum(true + found, 1), true > 0)


def matthews(true: Floats, found: Floats, right: Floats) -> Floats:
    """Return Matthews' correlation of true and predicted classes; NaN if either has only one class.

    Source:
        Gorodkin 2004, "Comparing two K-category assignments by a K-category correlation coefficient".
    """
    clips, hits = true.sum(axis=-1), right.sum(axis=-1)
    covariance = hits * clips - (true * found).sum(axis=-1)
    spread = (clips**2 - (true**2).sum(axis=-1)) * (clips**2 - (found**2).sum(axis=-1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(spread > 0, covariance / np.sqrt(np.maximum(spread, 0)), np.nan)


def mean_where(values: Floats, there: NDArray[np.bool_]) -> Floats:
    """Return the mean over the last axis of the values where `there` is true, NaN if it is true nowhere."""
    number = np.broadcast_to(there, values.shape).sum(axis=-1)
    total = np.where(there, values, 0).sum(axis=-1)
    mean: Floats = np.where(number > 0, total / np.maximum(number, 1), np.nan)
    return mean


def jackknife(counts: GroupCounts, metric: Metric) -> Jackknife:
    """Leave each group out once; the axis before the groups is that of the seeds.

    If no class remains without a group, such as the only group of the rare classes, the score of all groups is used.
    """
    whole = counts.score(metric)
    without = counts.score_without_each(metric)
    effective = effective_number(counts.true.sum(axis=-1, dtype=np.float64).max(axis=-2))
    return Jackknife(whole, np.where(np.isnan(without), whole[..., None], without), effective)


def effective_number(clips: Floats) -> Any:
    """Return the equivalent number of groups of equal size, from the clips of each group, (..., num_groups)."""
    return clips.sum(axis=-1) ** 2 / np.maximum((clips**2).sum(axis=-1), 1)


def jackknife_auroc(scores: Floats, positive: NDArray[np.bool_], groups: NDArray[Any]) -> Jackknife:
    """Compute the area under the ROC curve without each group, in O(n log n).

    Args:
        scores: Higher if the class is more likely, shape (..., num_seeds, num_clips).
        positive: Which clips are of the class, shape (num_clips,).
        groups: Groups of the clips, shape (num_clips,).

    Returns:
        Areas, with ties counted as one half; NaN if all clips or none are positive.
    """
    group = np.unique(groups, return_inverse=True)[1]
    by_group = np.argsort(group, kind="stable")
    scores, positive, group = scores[..., by_group], positive[by_group], group[by_group]
    starts = np.flatnonzero(np.diff(group, prepend=-1))

    def by_groups(values: Any) -> Floats:
        added: Floats = np.add.reduceat(values, starts, axis=-1, dtype=np.float64)
        return added

    order = rankdata(scores, method="dense", axis=-1)
    lower = _beaten(order, positive)
    positives, negatives = positive.sum(), (~positive).sum()
    pairs = np.where(positive, lower, positives - lower)  # correctly ordered pairs that contain each clip
    positives_of, negatives_of = by_groups(positive), by_groups(~positive)
    # All clips of an earlier group have lower keys than those of a later group.
    inside = _beaten(group * (order.max() + 1) + order, positive) - (np.cumsum(negatives_of) - negatives_of)[group]
    taken = by_groups(pairs) - by_groups(np.where(positive, inside, 0))
    total = np.where(positive, lower, 0).sum(axis=-1)
    left = (positives - positives_of) * (negatives - negatives_of)
    with np.errstate(invalid="ignore", divide="ignore"):
        whole = total / (positives * negatives)
        without = np.where(left > 0, (total[..., None] - taken) / left, whole[..., None])
    return Jackknife(whole, without, effective_number(np.diff(starts, append=len(group)).astype(np.float64)))


def _beaten(keys: NDArray[Any], positive: NDArray[np.bool_]) -> Floats:
    """Count for each clip the clips of the other kind with a lower key, ties as one half; (..., num_clips)."""
    order = np.argsort(keys, axis=-1)
    ascending = np.take_along_axis(keys, order, axis=-1)
    kind, places = positive[order], np.arange(keys.shape[-1])
    # Where the clips with the same key start, and where the next ones start.
    changes = np.diff(ascending, axis=-1, prepend=ascending[..., :1] - 1) != 0
    start = np.maximum.accumulate(np.where(changes, places, 0), axis=-1)
    ends = np.append(changes[..., 1:], np.ones_like(changes[..., :1]), axis=-1)
    end = np.minimum.accumulate(np.where(ends, places + 1, len(places))[..., ::-1], axis=-1)[..., ::-1]
    positives = np.insert(np.cumsum(kind, axis=-1), 0, 0, axis=-1)
    below = (np.take_along_axis(positives, start, axis=-1) + np.take_along_axis(positives, end, axis=-1)) / 2
    lower = np.empty(keys.shape)
    np.put_along_axis(lower, order, np.where(kind, (start + end) / 2 - below, below), axis=-1)
    return lower


def interval(scores: Jackknife, *, fraction: bool = False, error_rate: float = ERROR_RATE) -> Interval:
    """Return the interval of the mean over the seeds, 95 % unless `error_rate` is given.

    Its ends are NaN with too few groups (FEWEST_GROUPS, FEWEST_EFFECTIVE_GROUPS) or too few seeds that differ
    (FEWEST_SEEDS).

    Args:
        scores: Of one system, or the difference of two.
        fraction: Whether the score is in [0, 1], as that of one system: the interval is then computed on the log-odds
            scale and stays within [0, 1]. If all groups agree on a score of 0 or 1, the bound is exact for as many
            independent trials as there are effective groups.
        error_rate: How often the interval may miss the true score.
    """
    tail = 1 - error_rate / 2
    value = scores.whole.mean(axis=-1)
    num_groups = scores.without.shape[-1]
    few = np.less(scores.effective_groups, FEWEST_EFFECTIVE_GROUPS) | (num_groups < FEWEST_GROUPS)
    half = np.where(few, np.nan, _half_width(_variances(scores), tail))
    if not fraction:
        return Interval(value, value - half, value + half)
    inside = np.clip(value, 1e-9, 1 - 1e-9)
    spread = half / (inside * (1 - inside))
    with np.errstate(over="ignore"):
        low, high = expit(logit(inside) - spread), expit(logit(inside) + spread)
    exact = (1 - tail) ** (1 / np.maximum(scores.effective_groups, 1))
    low = np.where((half == 0) & (value >= 1), exact, np.minimum(low, value))
    high = np.where((half == 0) & (value <= 0), 1 - exact, np.maximum(high, value))
    return Interval(value, low, high)


@dataclass(frozen=True, slots=True)
class _Variances:
    """Estimated variances of the mean over the seeds."""

    groups: Floats  # includes the interaction of groups and seeds
    freedom: Any  # degrees of freedom of `groups`
    num_seeds: int
    seeds: Floats  # includes the interaction; 0 with one seed
    interaction: Floats  # 0 with one seed


def _variances(scores: Jackknife) -> _Variances:
    num_seeds, num_groups = scores.without.shape[-2:]
    # The influence of each group on each seed's score. The sum of its squares over the groups estimates the variance.
    influence = np.sqrt((num_groups - 1) / num_groups) * (scores.without - scores.without.mean(axis=-1, keepdims=True))
    common = influence.mean(axis=-2)
    between_groups = (common**2).sum(axis=-1)
    freedom = np.clip(scores.effective_groups, 1, max(num_groups - 1, 1))
    if num_seeds == 1:
        none = np.zeros_like(between_groups)
        return _Variances(between_groups, freedom, num_seeds, none, none)
    between_seeds = scores.whole.var(axis=-1, ddof=1) / num_seeds
    interaction = ((influence - common[..., None, :]) ** 2).sum(axis=(-2, -1)) / (num_seeds * (num_seeds - 1))
    return _Variances(between_groups, freedom, num_seeds, between_seeds, interaction)


def correlation_interval(scores: Jackknife) -> Interval:
    """Return the 95 % interval of a score in [-1, 1], on the scale of `interval` for fractions."""
    halved = Jackknife((scores.whole + 1) / 2, (scores.without + 1) / 2, scores.effective_groups)
    found = interval(halved, fraction=True)
    return Interval(*(2 * end - 1 for end in (found.value, found.low, found.high)))


def _half_width(variances: _Variances, tail: float = 1 - ERROR_RATE / 2) -> Floats:
    """Return half the width of the interval, (...,)."""
    squares = student.ppf(tail, variances.freedom) ** 2 * variances.groups
    if variances.num_seeds > 1:
        seeds_alone = np.maximum(variances.seeds - variances.interaction, 0)
        squares = squares + student.ppf(tail, variances.num_seeds - 1) ** 2 * seeds_alone
    if variances.num_seeds < FEWEST_SEEDS:
        squares = np.where((variances.seeds > 0) | (variances.interaction > 0), np.nan, squares)
    half: Floats = np.sqrt(squares)
    return half
