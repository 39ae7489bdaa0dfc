"""Metrics of clips with any number of labels. Unknown labels are NaN in the targets and count nowhere.

Ranking metrics use the probabilities as they are; F1 and exact match use the threshold of each label. Labels that no
clip has, or that all clips have, have no ranking score, and macro averages are over the others.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.metrics import average_precision_score, roc_auc_score

Floats = NDArray[np.floating[Any]]
_MOST_CERTAIN: Final = 1e-4  # from 0 and 1, for the d' of a perfect area


def multi_label_metrics(targets: Floats, probabilities: Floats, thresholds: Floats) -> dict[str, float]:
    """Compute the metrics of some clips.

    Args:
        targets: 1 for the labels of a clip, 0 for the others, NaN for unknown ones; shape (num_clips, num_classes).
        probabilities: The same shape.
        thresholds: From which on a label is predicted, shape (num_classes,) or (num_clips, num_classes).

    Returns:
        `map_macro`, `map_micro`, `lwlrap`, `auroc_macro`, `d_prime` (of the mean area), `f1_macro`, `f1_micro`,
        `precision_micro`, `recall_micro` and `exact_match`, the fraction of the clips whose known labels are all right.
        NaN if no label can be scored.
    """
    known = ~np.isnan(targets)
    true, found = known & (targets == 1), known & (probabilities >= thresholds)
    hits = (true & found).sum(axis=0)
    f1 = _ratios(2 * hits, true.sum(axis=0) + found.sum(axis=0))
    precisions, areas = per_class_ranking(targets, probabilities)
    area = _mean(areas)
    return {
        "map_macro": _mean(precisions),
        "map_micro": _average_precision(targets[known], probabilities[known]),
        "lwlrap": lwlrap(targets, probabilities),
        "auroc_macro": area,
        "d_prime": float(np.sqrt(2) * norm.ppf(np.clip(area, _MOST_CERTAIN, 1 - _MOST_CERTAIN))),
        "f1_macro": _mean(np.where(true.any(axis=0), f1, np.nan)),
        "f1_micro": float(_ratios(2 * hits.sum(), true.sum() + found.sum())),
        "precision_micro": float(_ratios(hits.sum(), found.sum())),
        "recall_micro": float(_ratios(hits.sum(), true.sum())),
        "exact_match": float((found == true).all(axis=1, where=known).mean()),
    }


def per_class_ranking(targets: Floats, probabilities: Floats) -> tuple[Floats, Floats]:
    """Return average precision and area under the ROC curve of each class, each (num_classes,); NaN if undefined."""
    precisions, areas = np.full((2, targets.shape[1]), np.nan)
    for k, (true, scores) in enumerate(zip(targets.T, probabilities.T, strict=True)):
        known = ~np.isnan(true)
        if 0 < true[known].sum() < known.sum():
            precisions[k] = average_precision_score(true[known], scores[known])
            areas[k] = roc_auc_score(true[known], scores[known])
    return precisions, areas


def lwlrap(targets: Floats, probabilities: Floats) -> float:
    """Return the label-weighted label-ranking average precision: the mean precision at the rank of each true label.

    Source:
        The metric of DCASE 2019 task 2: Fonseca et al. 2019, arXiv:1906.02975.
    """
    precision, labels = lwlrap_parts(targets, probabilities)
    return float(precision.sum() / labels.sum()) if labels.any() else float("nan")


def lwlrap_parts(targets: Floats, probabilities: Floats) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return for each clip the sum of the precisions at its labels, and how many labels it has, each (num_clips,)."""
    true = targets == 1
    # Unknown labels are not ranked.
    scores = np.where(np.isnan(targets), -np.inf, probabilities)
    order = np.argsort(-scores, axis=1, kind="stable")
    ranked, hits = np.take_along_axis(scores, order, 1), np.take_along_axis(true, order, 1)
    # Labels of equal probability have the rank of the last of them.
    last = np.array([np.searchsorted(-row, -row, side="right") for row in ranked]).reshape(ranked.shape) - 1
    precision = np.take_along_axis(np.cumsum(hits, axis=1), last, 1) / (last + 1)
    return (precision * hits).sum(axis=1), true.sum(axis=1)


def per_label_metrics(targets: Floats, probabilities: Floats, thresholds: Floats, labels: list[str]) -> pd.DataFrame:
    """Compute the metrics of each label; those that are undefined are NaN.

    Returns:
        Columns `label`, `average_precision`, `auroc`, `precision`, `recall`, `f1`, `threshold`, `clips` (that have the
        label) and `unknown`; one row per class, in the order of `labels`.
    """
    known = ~np.isnan(targets)
    true, found = known & (targets == 1), known & (probabilities >= thresholds)
    hits, clips, predicted = (each.sum(axis=0) for each in (true & found, true, found))
    precisions, areas = per_class_ranking(targets, probabilities)
    table = pd.DataFrame(
        {
            "label": labels,
            "average_precision": precisions,
            "auroc": areas,
            "precision": _ratios(hits, predicted),
            "recall": _ratios(hits, clips),
            "f1": _ratios(2 * hits, clips + predicted),
            "threshold": thresholds,
            "clips": clips,
            "unknown": (~known).sum(axis=0),
        }
    )
    table.loc[table["clips"] == 0, ["precision", "recall", "f1"]] = np.nan
    return table


def _average_precision(targets: Floats, scores: Floats) -> float:
    return float(average_precision_score(targets, scores)) if 0 < targets.sum() < len(targets) else float("nan")


def _ratios(part: Any, whole: Any) -> Any:
    return np.where(whole > 0, part / np.maximum(whole, 1), 0.0)


def _mean(values: Floats) -> float:
    return float(np.nanmean(values)) if not np.isnan(values).all() else float("nan")
