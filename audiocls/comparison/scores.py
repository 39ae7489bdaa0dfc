"""Scores of several methods on the same clips, with intervals, and their paired differences from `none`.

The intervals are those of `metrics/intervals.py`. Differences are computed on the same groups and seeds, so that common
errors, such as on a speaker that all methods fail on, do not widen their intervals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audiocls.metrics import (
    BINS,
    GroupCounts,
    Jackknife,
    balanced_accuracy,
    bins_of,
    effective_number,
    f1_macro,
    interval,
    jackknife,
)

METRICS: Final = ("f1_macro", "balanced_accuracy", "f1_rarest_third", "f1_most_frequent_third", "calibration_error")
"""The last one is the expected calibration error; see `metrics.calibration_error`."""

Floats = NDArray[np.float64]


def compare_scores(
    logits: Mapping[str, Sequence[NDArray[Any]]],
    targets: NDArray[np.int64],
    groups: NDArray[np.object_],
    counts: NDArray[np.int64],
) -> pd.DataFrame:
    """Score methods on clips.

    Args:
        logits: Logits by method, including `none`, and by seed, each of shape (num_clips, num_classes).
        targets: Class indices, shape (num_clips,).
        groups: Groups, shape (num_clips,).
        counts: Training clips per class, which define the rarest and the most frequent third of the classes.

    Returns:
        One row per method, the best macro-F1 first: `method`, and for each of METRICS, such as f1_macro, its mean over
        the seeds, `f1_macro_low` and `f1_macro_high` (95 %), and `f1_macro_gain` over `none` with `_gain_low` and
        `_gain_high`. A score is NaN if none of its classes has clips; the ends of an interval are NaN if there are too
        few groups or seeds.
    """
    thirds = thirds_of(counts)
    scored = {name: _left_out(seeds, targets, groups, thirds) for name, seeds in logits.items()}
    rows = []
    for name, found in scored.items():
        row: dict[str, Any] = {"method": name}
        for metric in METRICS:
            level = interval(found[metric], fraction=True)
            gain = interval(found[metric].minus(scored["none"][metric]))
            row |= {metric: level.value, f"{metric}_low": level.low, f"{metric}_high": level.high}
            row |= {f"{metric}_gain": gain.value, f"{metric}_gain_low": gain.low, f"{metric}_gain_high": gain.high}
        rows.append({key: value if key == "method" else float(value) for key, value in row.items()})
    return pd.DataFrame(rows).sort_values("f1_macro", ascending=False, kind="stable", ignore_index=True)


def score_seed(
    logits: NDArray[Any], targets: NDArray[np.int64], groups: NDArray[np.object_], counts: NDArray[np.int64]
) -> dict[str, float]:
    """Return METRICS of one method and seed."""
    found = _left_out([logits], targets, groups, thirds_of(counts))
    return {metric: float(each.whole[0]) for metric, each in found.items()}


def thirds_of(counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rarest and the most frequent third of the classes, rarer ones first, at least one class each."""
    by_count = np.argsort(counts, kind="stable")
    third = max(1, len(counts) // 3)
    return by_count[:third], by_count[-third:]


def _left_out(
    seeds: Sequence[NDArray[Any]],
    targets: NDArray[np.int64],
    groups: NDArray[np.object_],
    thirds: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> dict[str, Jackknife]:
    """Return METRICS of each seed, on all clips and without each group."""
    # Methods without randomness have the same array for all seeds.
    of_seed = {id(each): _left_out_of_seed(each, targets, groups.astype(str), thirds) for each in seeds}
    found = [of_seed[id(each)] for each in seeds]
    return {
        metric: Jackknife(
            np.concatenate([each[metric].whole for each in found]),
            np.concatenate([each[metric].without for each in found]),
            found[0][metric].effective_groups,
        )
        for metric in METRICS
    }


def _left_out_of_seed(
    logits: NDArray[Any],
    targets: NDArray[np.int64],
    groups: NDArray[np.str_],
    thirds: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> dict[str, Jackknife]:
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True), dtype=np.float64)
    confidence, predicted = exponents.max(axis=1) / exponents.sum(axis=1), logits.argmax(axis=1)
    by_group = GroupCounts.of(targets, predicted[None], groups, logits.shape[1])
    rarest, most_frequent = (by_group.of_classes(third) for third in thirds)
    found = {
        "f1_macro": jackknife(by_group, f1_macro),
        "balanced_accuracy": jackknife(by_group, balanced_accuracy),
        "f1_rarest_third": jackknife(rarest, f1_macro),
        "f1_most_frequent_third": jackknife(most_frequent, f1_macro),
    }
    return found | {"calibration_error": calibration_jackknife(confidence, predicted == targets, groups)}


def calibration_jackknife(confidence: Floats, correct: NDArray[np.bool_], groups: NDArray[np.str_]) -> Jackknife:
    """Compute the expected calibration error without each group.

    Args:
        confidence: Of each clip's answer, shape (num_clips,).
        correct: Which answers are right, the same shape.
        groups: Groups of the clips, the same shape.
    """
    names, group = np.unique(groups, return_inverse=True)
    cells = group * BINS + bins_of(confidence)
    gaps = np.bincount(cells, correct - confidence, minlength=len(names) * BINS).reshape(-1, BINS)
    clips, total = np.bincount(group), gaps.sum(axis=0)
    whole = np.abs(total).sum(keepdims=True) / clips.sum()
    left = np.maximum(clips.sum() - clips, 1)  # a single group leaves no clips, and has no interval
    without = np.abs(total - gaps).sum(axis=1) / left
    return Jackknife(whole, without[None], effective_number(clips.astype(np.float64)))
