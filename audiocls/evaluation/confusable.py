"""Pairs of classes that a model takes for each other."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audiocls.metrics import GroupCounts, accuracy, interval, jackknife

MOST_PAIRS: Final = 500
COLUMNS: Final = ("label_a", "label_b", "clips", "errors", "rate", "low", "high", "a_as_b", "b_as_a")


def confusable_pairs(
    targets: NDArray[np.int64], predicted: NDArray[np.int64], groups: NDArray[Any], labels: list[str]
) -> pd.DataFrame:
    """Return the pairs of classes with at least one confusion, the most certainly confused ones first.

    Args:
        targets: Class indices, (num_clips,).
        predicted: Class indices, (num_clips,).
        groups: Groups of the clips, (num_clips,).
        labels: Class names.

    Returns:
        `clips` of either class, `errors` (clips of one that are taken for the other), `rate`, which is errors by clips,
        and `low` and `high`, its 95 % interval over the groups with such clips; empty with fewer than five. `a_as_b`
        and `b_as_a` are the errors in each direction. Sorted by `low`, and pairs without an interval last, by `rate`;
        at most the MOST_PAIRS pairs with the most errors.
    """
    wrong = targets != predicted
    both = np.sort(np.stack([targets[wrong], predicted[wrong]]), axis=0)
    pairs, errors = np.unique(both, axis=1, return_counts=True)
    kept = np.sort(np.argsort(-errors, kind="stable")[:MOST_PAIRS])
    rows = [_row(targets, predicted, groups, labels, int(a), int(b)) for a, b in pairs[:, kept].T]
    table = pd.DataFrame(rows, columns=[*COLUMNS])
    return table.sort_values(["low", "rate"], ascending=False, na_position="last", kind="stable", ignore_index=True)


def _row(
    targets: NDArray[np.int64], predicted: NDArray[np.int64], groups: NDArray[Any], labels: list[str], a: int, b: int
) -> tuple[Any, ...]:
    of_pair = np.flatnonzero((targets == a) | (targets == b))
    true, found = targets[of_pair], predicted[of_pair]
    taken = (found != true) & ((found == a) | (found == b))
    # A rate of errors is the accuracy of a system that is right where the model is wrong.
    counts = GroupCounts.of(np.ones_like(true), taken[None].astype(np.int64), groups[of_pair], 2)
    rate = interval(jackknife(counts, accuracy), fraction=True)
    a_as_b = int((taken & (true == a)).sum())
    errors = int(taken.sum())
    return (
        labels[a],
        labels[b],
        len(of_pair),
        errors,
        errors / len(of_pair),
        float(rate.low),
        float(rate.high),
        a_as_b,
        errors - a_as_b,
    )
