"""95 % intervals of the metrics of clips with one label: overall and of each class, by `intervals.py`."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audiocls.metrics.classification import TOP_K, top_k_hits
from audiocls.metrics.group_scores import precision_macro
from audiocls.metrics.intervals import (
    FEWEST_GROUPS,
    GroupCounts,
    Interval,
    Jackknife,
    Metric,
    accuracy,
    balanced_accuracy,
    correlation_interval,
    f1_macro,
    interval,
    jackknife,
    jackknife_auroc,
    matthews,
)
from audiocls.metrics.multi_label_intervals import average_precision_without_each, blocks_of, mean_of_classes

Floats = NDArray[np.float64]
PER_CLASS: Final = ("precision", "recall", "f1", "auroc", "average_precision")


def precision_weighted(true: Floats, found: Floats, right: Floats) -> Floats:
    """Return the mean precision over the clips' classes."""
    return _weighted(right / np.maximum(found, 1), true)


def f1_weighted(true: Floats, found: Floats, right: Floats) -> Floats:
    """Return the mean F1 over the clips' classes."""
    return _weighted(2 * right / np.maximum(true + found, 1), true)


def _weighted(scores: Floats, true: Floats) -> Floats:
    clips = true.sum(axis=-1)
    mean: Floats = np.where(clips > 0, (scores * true).sum(axis=-1) / np.maximum(clips, 1), np.nan)
    return mean


_OF_COUNTS: Final[dict[str, Metric]] = {
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
    "precision_macro": precision_macro,
    "recall_macro": balanced_accuracy,
    "f1_macro": f1_macro,
    "precision_weighted": precision_weighted,
    "recall_weighted": accuracy,
    "f1_weighted": f1_weighted,
}


class ClassificationIntervals:
    """The metrics of some clips with one label each, and their 95 % intervals over groups."""

    def __init__(
        self,
        targets: NDArray[np.int64],
        probabilities: NDArray[np.floating[Any]],
        losses: NDArray[np.floating[Any]],
        groups: NDArray[Any],
    ) -> None:
        """Count by group.

        Args:
            targets: Class indices, (num_clips,).
            probabilities: Shape (num_clips, num_classes); the highest is the prediction.
            losses: Cross entropy of each clip, (num_clips,).
            groups: Groups of the clips, (num_clips,).
        """
        self._targets, self._probabilities, self._losses = targets, probabilities, losses
        self._group = np.unique(groups, return_inverse=True)[1]
        predicted = probabilities.argmax(axis=1)
        self._counts = GroupCounts.of(targets, predicted[None], self._group, probabilities.shape[1])
        self._blocks = blocks_of(self._group)
        self._ranked: dict[int, tuple[Jackknife, Floats]] = {}

    def overall(self) -> dict[str, Interval]:
        """Return the metrics of `summary_metrics` and `ranking_metrics`, and `loss`."""
        found = {name: interval(jackknife(self._counts, metric), fraction=True) for name, metric in _OF_COUNTS.items()}
        found["matthews"] = correlation_interval(jackknife(self._counts, matthews))
        if self._probabilities.shape[1] > TOP_K:
            hits = top_k_hits(self._targets, self._probabilities)
            found[f"top_{TOP_K}_accuracy"] = interval(self._mean(hits), fraction=True)
        found["loss"] = interval(self._mean(self._losses))
        ranked = [self._ranking(k) for k in self._scorable()]
        for number, name in enumerate(("auroc_macro", "average_precision_macro")):
            rows = np.array([_row(area) if number == 0 else precisions for area, precisions in ranked])
            whole, without = mean_of_classes(rows)
            found[name] = interval(Jackknife(whole, without, self._effective(number)), fraction=True)
        return found

    def per_class(self, labels: list[str]) -> pd.DataFrame:
        """Return `label` and the low and high end of each score of PER_CLASS, a row for each class.

        The ends are empty if the class has no clips, or if fewer than five groups have clips that count for the score.
        """
        scorable, rows = set(self._scorable()), []
        for k, label in enumerate(labels):
            row: dict[str, Any] = {"label": label} | self._counted(k)
            if k in scorable:
                area, precisions = self._ranking(k)
                groups_of_class = int((self._counts.true[0, :, k] > 0).sum())
                ranked = Jackknife(precisions[:1], precisions[None, 1:], self._effective(1))
                row |= _ends("auroc", interval(area, fraction=True), groups_of_class)
                row |= _ends("average_precision", interval(ranked, fraction=True), groups_of_class)
            rows.append(row)
        columns = [f"{name}_{end}" for name in PER_CLASS for end in ("low", "high")]
        return pd.DataFrame(rows, columns=["label", *columns])

    def _counted(self, k: int) -> dict[str, float]:
        """Return the ends of precision, recall and F1 of a class."""
        true, found, right = (each[0, :, k].astype(np.float64) for each in self._of_counts())
        if not true.any():
            return {}
        ends: dict[str, float] = {}
        for name, part, whole in (
            ("precision", right, found),
            ("recall", right, true),
            ("f1", 2 * right, true + found),
        ):
            used = whole > 0
            ratio = Interval(0.0, np.nan, np.nan)
            if used.any():
                counts = GroupCounts(*(each[used][None, :, None] for each in (whole, whole, part)))
                ratio = interval(jackknife(counts, accuracy), fraction=True)
            ends |= _ends(name, ratio, int(used.sum()))
        return ends

    def _of_counts(self) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        return self._counts.true, self._counts.found, self._counts.right

    def _mean(self, values: NDArray[Any]) -> Jackknife:
        """Return the mean over the clips without each group."""
        clips = np.bincount(self._group)[None, :, None]
        sums = np.bincount(self._group, values.astype(np.float64))[None, :, None]
        return jackknife(GroupCounts(clips, clips, sums), accuracy)

    def _scorable(self) -> list[int]:
        clips = self._counts.true.sum(axis=(0, 1))
        return [k for k, count in enumerate(clips) if 0 < count < len(self._targets)]

    def _ranking(self, k: int) -> tuple[Jackknife, Floats]:
        """Return the area under the ROC curve of a class, and its average precision, as a whole and without each block.

        Groups beyond `MOST_BLOCKS` are joined into blocks for the average precision.
        """
        if k not in self._ranked:
            present, scores = self._targets == k, self._probabilities[:, k].astype(np.float64)
            area = jackknife_auroc(scores[None], present, self._group)
            num_blocks = int(self._blocks.max()) + 1
            self._ranked[k] = area, average_precision_without_each(present, scores, self._blocks, num_blocks)
        return self._ranked[k]

    def _effective(self, number: int) -> float:
        clips = np.bincount(self._blocks if number else self._group).astype(np.float64)
        return float(clips.sum() ** 2 / (clips**2).sum())


def _row(area: Jackknife) -> Floats:
    return np.append(area.whole, area.without[0])


def _ends(name: str, found: Interval, groups: int) -> dict[str, float]:
    few = groups < FEWEST_GROUPS
    return {f"{name}_{end}": np.nan if few else float(np.squeeze(getattr(found, end))) for end in ("low", "high")}
