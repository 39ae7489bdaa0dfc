"""The report of clips with one label each: scores of classes and groups, confused pairs, and pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audiocls.evaluation.calibration import write_calibration
from audiocls.evaluation.confusable import confusable_pairs
from audiocls.evaluation.metrics_table import write_metrics
from audiocls.evaluation.per_file import FILE, file_scores
from audiocls.evaluation.per_group import per_group
from audiocls.metrics import PER_CLASS, ClassificationIntervals, ClipScores, confusion, per_class_metrics
from audiocls.plots import draw_confusion


def write_class_report(
    scores: ClipScores,
    probabilities: NDArray[np.float32],
    clips: pd.DataFrame,
    labels: list[str],
    metrics: dict[str, float],
    folder: Path,
) -> dict[str, float]:
    """Write tables and plots of the test split; return the metrics of files and of each class.

    Args:
        scores: Of test.
        probabilities: Of the clips, (num_clips, num_classes).
        clips: Rows of the clips table.
        labels: Class names.
        metrics: Of the run; those of test are in the report.
        folder: Gets `metrics.csv`, `classification_report.json` and `.csv`, `per_group.csv`, `confusable_pairs.csv`,
            `confusion_matrix.csv` and `.png`, and the files of `write_calibration`.
    """
    targets, predicted, groups = scores.targets, scores.predicted, clips["group"].to_numpy(str)
    write_calibration(targets, probabilities, folder)
    intervals = ClassificationIntervals(targets, probabilities, scores.losses, groups)
    of_files, left_out = file_scores(clips, targets, probabilities)
    found = {f"test/{name}": float(np.squeeze(each.value)) for name, each in of_files.items()}
    if left_out:
        found[f"test/{FILE}/left_out"] = float(left_out)
    write_metrics(metrics | found, intervals.overall() | of_files, folder)
    per_class = per_class_metrics(targets, predicted, labels, probabilities)
    _write_classes(per_class.merge(intervals.per_class(labels), on="label"), metrics, folder)
    counts = confusion(targets, predicted, labels)
    counts.to_csv(folder / "confusion_matrix.csv")
    title = f"test: {len(targets)} clips, macro-F1 {metrics['test/f1_macro']:.3f}"
    draw_confusion(counts, title, folder / "confusion_matrix.png")
    confusable_pairs(targets, predicted, groups, labels).to_csv(folder / "confusable_pairs.csv", index=False)
    of_groups = per_group(clips, targets, predicted, targets == predicted, len(labels))
    of_groups.to_csv(folder / "per_group.csv", index=False)
    scored = per_class[per_class["clips"] > 0]
    return found | {
        f"test/{metric}/{row.label}": float(getattr(row, metric))
        for row in scored.itertuples()
        for metric in ("precision", "recall", "f1")
    }


def _write_classes(per_class: pd.DataFrame, metrics: dict[str, float], folder: Path) -> None:
    """Write the scores of the classes as CSV and JSON."""
    scores = [name + end for name in PER_CLASS for end in ("", "_low", "_high")]
    table = per_class[["label", *scores, "clips"]]
    table.to_csv(folder / "classification_report.csv", index=False)
    summary = {name.removeprefix("test/"): value for name, value in metrics.items() if name.startswith("test/")}
    classes = table.replace({np.nan: None}).to_dict(orient="records")
    report = json.dumps({"summary": summary, "classes": classes}, indent=2, ensure_ascii=False)
    (folder / "classification_report.json").write_text(report + "\n", encoding="utf-8")
