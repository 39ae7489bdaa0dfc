"""Scores of several methods on the same clips, with intervals, and each against `none`, pair by pair.

The bootstrap draws groups, and seeds, with replacement, the same for all methods: what the methods share, such as a
speaker whom none of them understands, does not widen the interval of their difference. Groups are drawn by strata,
which are those that have the same rarest class, so that a draw has all classes; of n groups, or seeds, n - 1 are drawn,
as n would make intervals of few too narrow (Rao and Wu 1988, "Resampling Inference with Complex Survey Data").
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

METRICS: Final = ("f1_macro", "balanced_accuracy", "f1_rarest_third", "f1_most_frequent_third", "calibration_error")
"""The last one is the expected calibration error in 15 bins of confidence (Guo et al. 2017, arXiv:1706.04599)."""

_REPLICATES: Final = 2_000
_BINS: Final = 15
# Draws times groups that are held at a time: 80 MB.
_MOST_DRAWN: Final = 10_000_000

Floats = NDArray[np.float64]


def compare_scores(
    logits: Mapping[str, Sequence[NDArray[Any]]],
    targets: NDArray[np.int64],
    groups: NDArray[np.object_],
    counts: NDArray[np.int64],
    seed: int,
) -> pd.DataFrame:
    """Score methods on clips.

    Args:
        logits: By method, `none` among them, and by seed, each of shape (num_clips, num_classes).
        targets: Class indices, shape (num_clips,).
        groups: Shape (num_clips,).
        counts: Training clips per class, which say what the rarest and the most frequent third of the classes are.
        seed: Of the bootstrap.

    Returns:
        A row a method, the best macro-F1 first: `method`, and for each of METRICS, such as f1_macro, its mean over the
        seeds, `f1_macro_low` and `f1_macro_high` (95 %), and `f1_macro_gain` over `none` with `_gain_low` and
        `_gain_high`. A score is NaN where none of its classes has clips.
    """
    thirds = thirds_of(counts)
    scores = {
        name: np.mean([_Tally(each, targets, groups, thirds).score_all() for each in seeds], axis=0)
        for name, seeds in logits.items()
    }
    drawn = _replicates(logits, targets, groups, thirds, seed)
    rows = []
    for name, found in scores.items():
        row: dict[str, Any] = {"method": name}
        for i, metric in enumerate(METRICS):
            row[metric] = found[i]
            row[f"{metric}_low"], row[f"{metric}_high"] = _interval(drawn[name][:, i])
            row[f"{metric}_gain"] = found[i] - scores["none"][i]
            gains = drawn[name][:, i] - drawn["none"][:, i]
            row[f"{metric}_gain_low"], row[f"{metric}_gain_high"] = _interval(gains)
        rows.append(row)
    return pd.DataFrame(rows).sort_values("f1_macro", ascending=False, kind="stable", ignore_index=True)


def score_seed(
    logits: NDArray[Any], targets: NDArray[np.int64], groups: NDArray[np.object_], counts: NDArray[np.int64]
) -> dict[str, float]:
    """Return METRICS of one method and seed."""
    found = _Tally(logits, targets, groups, thirds_of(counts)).score_all()
    return dict(zip(METRICS, found.tolist(), strict=True))


def thirds_of(counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rarest and the most frequent third of the classes, rarer ones first, one each at least."""
    by_count = np.argsort(counts, kind="stable")
    third = max(1, len(counts) // 3)
    return by_count[:third], by_count[-third:]


def _interval(values: Floats) -> tuple[float, float]:
    known = values[~np.isnan(values)]
    low, high = np.percentile(known, [2.5, 97.5]) if len(known) else (np.nan, np.nan)
    return float(low), float(high)


def _replicates(
    logits: Mapping[str, Sequence[NDArray[Any]]],
    targets: NDArray[np.int64],
    groups: NDArray[np.object_],
    thirds: tuple[NDArray[np.int64], NDArray[np.int64]],
    seed: int,
) -> dict[str, Floats]:
    """Return METRICS of each draw of groups and seeds, (replicates, num_metrics) by method."""
    (num_seeds,) = {len(seeds) for seeds in logits.values()}
    parts: dict[str, list[Floats]] = {name: [] for name in logits}
    for times, weights in _draws(_strata(targets, groups), num_seeds, seed):
        for name, seeds in logits.items():
            # The same array for all seeds is one that no seed changes.
            tallies = {id(each): _Tally(each, targets, groups, thirds) for each in seeds}
            scored = {key: tally.score(times) for key, tally in tallies.items()}
            parts[name].append(sum(weights[:, [i]] * scored[id(each)] for i, each in enumerate(seeds)))  # type: ignore[arg-type]
    return {name: np.concatenate(each) for name, each in parts.items()}


def _strata(targets: NDArray[np.int64], groups: NDArray[np.object_]) -> NDArray[np.int64]:
    """Number the stratum of each group, (num_groups,): by that of its classes which the fewest groups have.

    Groups that would be alone share one stratum, and one that still is joins the largest.
    """
    names, group = np.unique(groups.astype(str), return_inverse=True)
    present = np.zeros((len(names), targets.max() + 1), dtype=bool)
    present[group, targets] = True
    rarest: NDArray[np.int64] = np.where(present, present.sum(axis=0), len(names) + 1).argmin(axis=1)
    sizes = np.bincount(rarest)
    pooled = np.where(sizes[rarest] == 1, len(sizes), rarest)
    alone = np.flatnonzero(np.bincount(pooled) == 1)
    if len(alone) and len(np.unique(pooled)) > 1:
        pooled = np.where(pooled == alone[0], np.bincount(pooled).argmax(), pooled)
    return np.unique(pooled, return_inverse=True)[1].astype(np.int64)


def _draws(strata: NDArray[np.int64], num_seeds: int, seed: int) -> Iterator[tuple[Floats, Floats]]:
    """Yield how often each group is drawn, (draws, num_groups), and the share of each seed, (draws, num_seeds)."""
    # A generator each, so that the draws do not depend on how many are held at a time.
    generators = [np.random.default_rng([seed, i]) for i in range(strata.max() + 2)]
    at_a_time = max(1, _MOST_DRAWN // len(strata))
    for start in range(0, _REPLICATES, at_a_time):
        size = min(at_a_time, _REPLICATES - start)
        times = np.empty((size, len(strata)))
        for i, rng in enumerate(generators[1:]):
            times[:, strata == i] = _drawn(rng, int((strata == i).sum()), size)
        yield times, _drawn(generators[0], num_seeds, size) / num_seeds


def _drawn(rng: np.random.Generator, number: int, size: int) -> Floats:
    """Draw one fewer than `number` with replacement; return how often each comes, (size, number), 1 in the mean."""
    if number == 1:
        return np.ones((size, 1))
    drawn = rng.multinomial(number - 1, np.full(number, 1 / number), size=size)
    return drawn * number / (number - 1)


class _Tally:
    """What is counted of one method and seed, by group, so that a draw of groups is a weighted sum."""

    def __init__(
        self,
        logits: NDArray[Any],
        targets: NDArray[np.int64],
        groups: NDArray[np.object_],
        thirds: tuple[NDArray[np.int64], NDArray[np.int64]],
    ) -> None:
        names, self._group = np.unique(groups.astype(str), return_inverse=True)
        self._num_groups, self._thirds = len(names), thirds
        exponents = np.exp(logits - logits.max(axis=1, keepdims=True), dtype=np.float64)
        confidence, predicted = exponents.max(axis=1) / exponents.sum(axis=1), logits.argmax(axis=1)
        correct = predicted == targets
        width = logits.shape[1]
        self._true = self._count(targets, width)
        self._found = self._count(predicted, width)
        self._right = self._count(targets, width, correct.astype(float))
        self._clips = self._true.sum(axis=1, keepdims=True)
        bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
        self._gaps = self._count(bins, _BINS, correct - confidence)

    def _count(self, columns: NDArray[np.int64], width: int, weights: Floats | None = None) -> Floats:
        cells = np.bincount(self._group * width + columns, weights, minlength=self._num_groups * width)
        return cells.reshape(self._num_groups, width).astype(np.float64)

    def score_all(self) -> Floats:
        """Return METRICS of all clips, (num_metrics,)."""
        scored: Floats = self.score(np.ones((1, self._num_groups)))[0]
        return scored

    def score(self, times: Floats) -> Floats:
        """Return METRICS, (draws, num_metrics), where groups are drawn so many times, (draws, num_groups)."""
        true, found, right = times @ self._true, times @ self._found, times @ self._right
        f1, recall = 2 * right / np.maximum(true + found, 1), right / np.maximum(true, 1)
        there, (rarest, most_frequent) = true > 0, self._thirds
        calibration_error = np.abs(times @ self._gaps).sum(axis=1) / (times @ self._clips)[:, 0]
        return np.column_stack(
            [
                _mean_where(f1, there),
                _mean_where(recall, there),
                _mean_where(f1[:, rarest], there[:, rarest]),
                _mean_where(f1[:, most_frequent], there[:, most_frequent]),
                calibration_error,
            ]
        )


def _mean_where(values: Floats, there: NDArray[np.bool_]) -> Floats:
    """Return the mean of each row over what is there, NaN where nothing is."""
    number = there.sum(axis=1)
    total = np.where(there, values, 0).sum(axis=1)
    mean: Floats = np.where(number > 0, total / np.maximum(number, 1), np.nan)
    return mean
