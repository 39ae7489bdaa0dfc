"""The scores of the test split, of its classes and of pairs of classes, with 95 % intervals over groups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from audiocls.evaluation.page.predictions import Predictions
from audiocls.evaluation.page.records import Cell, ClassRow, Confusion, Pair, ScoreRow
from audiocls.evaluation.report import SHOWN_METRICS, SHOWN_OF_LABEL_SETS
from audiocls.evaluation.score_intervals import score_intervals
from audiocls.evaluation.slices import Scored
from audiocls.metrics import FEWEST_GROUPS, GroupCounts, Interval, f1_macro, interval, jackknife, multi_label_jackknife

MOST_CELLS_SHOWN: Final = 30
"""With more classes, the confusion matrix is a picture without numbers."""

NO_INTERVAL: Final = float("nan")
Ends = tuple[float, float]

_UNBOUNDED: Final = ("loss", "d_prime")
_MOST_PAIRS: Final = 20
_MOST_COUNTS: Final = 2_000_000  # groups by classes in memory at a time


def score_rows(
    predictions: Predictions, metrics: Mapping[str, float], given: Mapping[str, Ends]
) -> tuple[ScoreRow, ...]:
    """Return the scores of test, with those of validation if they are known.

    Args:
        predictions: Of test.
        metrics: Named `test/...` and `validation/...`.
        given: The intervals that the evaluation computed, by name without the split; others are computed here.
    """
    ends = {name: _ends(found) for name, found in _intervals(predictions).items()} | dict(given)
    shown = SHOWN_OF_LABEL_SETS if predictions.is_multi_label else SHOWN_METRICS
    rows = []
    for key, name in shown.items():
        if f"test/{key}" in metrics:
            scored = Scored(metrics[f"test/{key}"], *ends.get(key, (NO_INTERVAL, NO_INTERVAL)))
            rows.append(ScoreRow(name, scored, metrics.get(f"validation/{key}"), key not in _UNBOUNDED))
    return tuple(rows)


def _intervals(predictions: Predictions) -> dict[str, Interval]:
    if predictions.is_multi_label:
        found = multi_label_jackknife(
            predictions.targets, predictions.probabilities, predictions.predicted, predictions.groups
        )
        return {name: interval(scores, fraction=True) for name, scores in found.items()}
    return score_intervals(predictions.targets, predictions.predicted, predictions.groups, len(predictions.labels))


def _ends(found: Interval) -> tuple[float, float]:
    return float(np.squeeze(found.low)), float(np.squeeze(found.high))


def class_rows(predictions: Predictions, given: Mapping[str, Ends]) -> tuple[ClassRow, ...]:
    """Return the scores of each class, the lowest F1 first; F1 has no interval with fewer than five groups.

    Args:
        predictions: Of test.
        given: The intervals of F1 that the evaluation computed, by class; others are computed here.
    """
    present, known = predictions.present & predictions.known, predictions.known
    found = predictions.found & known
    clips, predicted, right = (each.sum(axis=0) for each in (present, found, present & found))
    f1, low, high = _class_f1(present, found, predictions.groups)
    rows = []
    for k, label in enumerate(predictions.labels):
        measured = clips[k] > 0
        row = ClassRow(
            label=label,
            clips=int(clips[k]),
            predicted=int(predicted[k]),
            right=int(right[k]),
            precision=float(right[k] / max(predicted[k], 1)) if measured else np.nan,
            recall=float(right[k] / clips[k]) if measured else np.nan,
            f1=Scored(float(f1[k]), *given.get(label, (float(low[k]), float(high[k])))),
            average_precision=_average_precision(present[known[:, k], k], predictions.probabilities[known[:, k], k]),
        )
        rows.append(row)
    return tuple(sorted(rows, key=lambda row: (np.isnan(row.f1.value), row.f1.value)))


def _class_f1(
    present: NDArray[np.bool_], found: NDArray[np.bool_], groups: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return F1 of each class, and the ends of its interval."""
    group = np.unique(groups, return_inverse=True)[1]
    num_groups = int(group.max()) + 1
    ends = np.empty((3, present.shape[1]))
    at_a_time = max(1, _MOST_COUNTS // num_groups)
    for start in range(0, present.shape[1], at_a_time):
        part = slice(start, start + at_a_time)
        # Each class is scored alone: (num_classes, 1 seed, num_groups, 1 class).
        true, predicted, right = (
            np.stack([np.bincount(group, column, minlength=num_groups) for column in each[:, part].T])[:, None, :, None]
            for each in (present, found, present & found)
        )
        scored = interval(jackknife(GroupCounts(true, predicted, right), f1_macro), fraction=True)
        few = (true > 0).sum(axis=(1, 2, 3)) < FEWEST_GROUPS
        ends[:, part] = scored.value, np.where(few, np.nan, scored.low), np.where(few, np.nan, scored.high)
    return ends[0], ends[1], ends[2]


def _average_precision(present: NDArray[np.bool_], probabilities: NDArray[np.float32]) -> float:
    return float(average_precision_score(present, probabilities)) if 0 < present.sum() < len(present) else np.nan


def confusion_of(predictions: Predictions) -> Confusion:
    """Count the clips by true and predicted class."""
    labels, number = predictions.labels, len(predictions.labels)
    flat = np.bincount(predictions.targets * number + predictions.predicted, minlength=number**2)
    counts = flat.reshape(number, number)
    as_numbers = tuple(tuple(row) for row in counts.tolist())
    if number > MOST_CELLS_SHOWN:
        return Confusion(labels, as_numbers, ())
    totals = counts.sum(axis=1)
    cells = tuple(
        tuple(
            Cell(count, int(np.ceil(10 * count / max(total, 1))), f"{true} taken for {name}: {count} of {total}")
            for count, name in zip(row, labels, strict=True)
        )
        for true, row, total in zip(labels, as_numbers, totals.tolist(), strict=True)
    )
    return Confusion(labels, as_numbers, cells)


def confused_pairs(predictions: Predictions) -> tuple[Pair, ...]:
    """Return the pairs of classes with the most errors between them, without intervals."""
    counts = np.array(confusion_of(predictions).counts)
    clips, errors = counts.sum(axis=1), np.triu(counts + counts.T, 1)
    pairs = []
    for a, b in zip(*np.nonzero(errors), strict=True):
        both, wrong = int(clips[a] + clips[b]), int(errors[a, b])
        rate = Scored(wrong / both, NO_INTERVAL, NO_INTERVAL)
        pairs.append(Pair(predictions.labels[a], predictions.labels[b], both, wrong, rate))
    return tuple(sorted(pairs, key=lambda pair: (-pair.errors, -pair.rate.value))[:_MOST_PAIRS])
