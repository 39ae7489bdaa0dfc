"""Classification metrics, the same in training and in the final evaluation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import (
    average_precision_score,
    confusion_matrix,
    matthews_corrcoef,
    precision_recall_fscore_support,
    roc_auc_score,
)

Classes = NDArray[np.int64]


def summary_metrics(targets: Classes, predicted: Classes) -> dict[str, float]:
    """Compute accuracy, balanced accuracy, and macro and weighted precision, recall and F1.

    Macro averages are over the classes in `targets`. A class without clips has no score; a false prediction of it still
    lowers the recall of the true class.

    Args:
        targets: Class indices, shape (num_clips,).
        predicted: Class indices, shape (num_clips,).
    """
    metrics = {"accuracy": float(np.mean(targets == predicted))}
    present = np.unique(targets)
    for average in ("macro", "weighted"):
        precision, recall, f1, _ = precision_recall_fscore_support(
            targets, predicted, labels=present, average=average, zero_division=0.0
        )
        metrics |= {
            f"precision_{average}": float(precision),
            f"recall_{average}": float(recall),
            f"f1_{average}": float(f1),
        }
    # Balanced accuracy is the mean recall over the classes that have clips.
    return metrics | {"balanced_accuracy": metrics["recall_macro"]}


TOP_K = 3


def ranking_metrics(targets: Classes, probabilities: NDArray[np.floating[Any]]) -> dict[str, float]:
    """Compute metrics of the probabilities, and Matthews' correlation of the most probable classes.

    Args:
        targets: Class indices, shape (num_clips,).
        probabilities: Shape (num_clips, num_classes).

    Returns:
        `auroc_macro` and `average_precision_macro`, each class against all others, as means over the classes that have
        clips; `matthews`; and with more than TOP_K classes `top_3_accuracy`. NaN if no class can be scored.
    """
    areas, precisions = _ranking_by_class(targets, probabilities)
    scored = not np.isnan(areas).all()
    metrics = {
        "auroc_macro": float(np.nanmean(areas)) if scored else float("nan"),
        "average_precision_macro": float(np.nanmean(precisions)) if scored else float("nan"),
        "matthews": float(matthews_corrcoef(targets, probabilities.argmax(axis=1))),
    }
    if probabilities.shape[1] > TOP_K:
        metrics[f"top_{TOP_K}_accuracy"] = float(np.mean(top_k_hits(targets, probabilities)))
    return metrics


def top_k_hits(targets: Classes, probabilities: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """Return whether the class of each clip is among the TOP_K most probable ones, (num_clips,)."""
    above = (probabilities > np.take_along_axis(probabilities, targets[:, None], 1)).sum(axis=1)
    hits: NDArray[np.bool_] = above < TOP_K
    return hits


def per_class_metrics(
    targets: Classes, predicted: Classes, labels: list[str], probabilities: NDArray[np.floating[Any]]
) -> pd.DataFrame:
    """Compute the metrics of every class against all others, and its number of clips; NaN if a class has no clips.

    Returns:
        Columns `label`, `precision`, `recall`, `f1`, `auroc`, `average_precision`, `clips`; one row per class, in the
        order of `labels`.
    """
    precision, recall, f1, clips = precision_recall_fscore_support(
        targets, predicted, labels=np.arange(len(labels)), zero_division=0.0
    )
    areas, precisions = _ranking_by_class(targets, probabilities)
    table = pd.DataFrame(
        {
            "label": labels, "precision": precision, "recall": recall, "f1": f1, "auroc": areas,
            "average_precision": precisions, "clips": clips,
        }
    )  # fmt: skip
    table.loc[table["clips"] == 0, ["precision", "recall", "f1"]] = np.nan
    return table


def _ranking_by_class(
    targets: Classes, probabilities: NDArray[np.floating[Any]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return area under the ROC curve and average precision of each class; NaN if no clips or all are of the class."""
    areas, precisions = np.full((2, probabilities.shape[1]), np.nan)
    for k, scores in enumerate(probabilities.T):
        present = targets == k
        if 0 < present.sum() < len(present):
            areas[k], precisions[k] = roc_auc_score(present, scores), average_precision_score(present, scores)
    return areas, precisions


def confusion(targets: Classes, predicted: Classes, labels: list[str]) -> pd.DataFrame:
    """Count clips by true class (rows) and predicted class (columns)."""
    counts: Any = confusion_matrix(targets, predicted, labels=np.arange(len(labels)))
    return pd.DataFrame(counts, index=pd.Index(labels, name="label"), columns=labels)
