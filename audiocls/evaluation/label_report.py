"""The report of clips with any number of labels: thresholds of the labels, scores of each, and a picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audiocls.evaluation.metrics_table import write_metrics
from audiocls.evaluation.per_group import per_group
from audiocls.files import replacing
from audiocls.metrics import (
    LabelScores,
    cross_fitted,
    fit_thresholds,
    interval,
    multi_label_jackknife,
    per_label_metrics,
)
from audiocls.plots import draw_label_scores

THRESHOLDS: Final = "thresholds.json"
_PER_LABEL: Final = ("average_precision", "auroc", "precision", "recall", "f1")


def chosen_thresholds(scores: LabelScores) -> NDArray[np.float64]:
    """Choose the threshold of each label for F1 on the validation clips, shape (num_classes,)."""
    return fit_thresholds(scores.targets, scores.probabilities)


def validation_metrics(scores: LabelScores, groups: NDArray[np.object_], seed: int) -> dict[str, float]:
    """Return the metrics of validation, where F1 is by thresholds that were fitted on the other groups."""
    _, thresholds = cross_fitted(scores.targets, scores.probabilities, groups.astype(str), seed)
    return scores.metrics(thresholds)


def write_label_report(
    scores: LabelScores,
    thresholds: NDArray[np.float64],
    clips: pd.DataFrame,
    labels: list[str],
    metrics: dict[str, float],
    folder: Path,
) -> dict[str, float]:
    """Write tables and a plot of the test split; return the scores of each label.

    Args:
        scores: Of test.
        thresholds: As fitted on validation.
        clips: Rows of the clips table.
        labels: Class names.
        metrics: Of the run; those of test are in the report.
        folder: Gets `metrics.csv`, `classification_report.json` and `.csv`, `per_group.csv`, `thresholds.json` and
            `label_scores.png`.
    """
    _write_metrics_and_groups(scores, thresholds, clips, metrics, folder)
    per_label = per_label_metrics(scores.targets, scores.probabilities, thresholds, labels)
    per_label.to_csv(folder / "classification_report.csv", index=False)
    summary = {name.removeprefix("test/"): value for name, value in metrics.items() if name.startswith("test/")}
    rows = per_label.astype(object).where(per_label.notna(), None).to_dict(orient="records")
    _write_json(folder / "classification_report.json", {"summary": summary, "classes": rows})
    _write_json(folder / THRESHOLDS, dict(zip(labels, thresholds.tolist(), strict=True)))
    title = f"test: {len(scores.targets)} clips, mAP {summary['map_macro']:.3f}"
    draw_label_scores(per_label, title, folder / "label_scores.png")
    return {
        f"test/{metric}/{row.label}": float(getattr(row, metric))
        for row in per_label[per_label["clips"] > 0].itertuples()
        for metric in _PER_LABEL
        if not pd.isna(getattr(row, metric))
    }


def _write_metrics_and_groups(
    scores: LabelScores, thresholds: NDArray[np.float64], clips: pd.DataFrame, metrics: dict[str, float], folder: Path
) -> None:
    targets, predicted = scores.targets, scores.probabilities >= thresholds
    found = multi_label_jackknife(targets, scores.probabilities, predicted, clips["group"].to_numpy(str))
    write_metrics(metrics, {name: interval(each, fraction=True) for name, each in found.items()}, folder)
    correct = (predicted == (targets == 1)).all(axis=1, where=~np.isnan(targets))
    of_groups = per_group(clips, targets, predicted, correct, targets.shape[1])
    of_groups.to_csv(folder / "per_group.csv", index=False)


def _write_json(target: Path, content: object) -> None:
    with replacing(target) as part:
        part.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
