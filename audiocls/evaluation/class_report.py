"""The report of clips with one label each: scores of each class, confused pairs, and pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiocls.evaluation.calibration import write_calibration
from audiocls.evaluation.confusable import confusable_pairs
from audiocls.metrics import confusion, per_class_metrics
from audiocls.plots import draw_confusion


def write_class_report(
    targets: NDArray[np.int64],
    probabilities: NDArray[np.float32],
    predicted: NDArray[np.int64],
    groups: NDArray[Any],
    labels: list[str],
    metrics: dict[str, float],
    folder: Path,
) -> dict[str, float]:
    """Write tables and plots of the test split; return precision, recall and F1 of each class.

    Args:
        targets: Class indices, (num_clips,).
        probabilities: Of the clips, (num_clips, num_classes).
        predicted: Class indices, (num_clips,).
        groups: Groups of the clips, (num_clips,).
        labels: Class names.
        metrics: Of the run; those of test are in the report.
        folder: Gets `classification_report.json` and `.csv`, `confusion_matrix.csv` and `.png`, `confusable_pairs.csv`
            and the files of `write_calibration`.
    """
    write_calibration(targets, probabilities, folder)
    per_class = per_class_metrics(targets, predicted, labels)
    per_class.to_csv(folder / "classification_report.csv", index=False)
    summary = {name.removeprefix("test/"): value for name, value in metrics.items() if name.startswith("test/")}
    classes = per_class.replace({np.nan: None}).to_dict(orient="records")
    report = json.dumps({"summary": summary, "classes": classes}, indent=2, ensure_ascii=False)
    (folder / "classification_report.json").write_text(report + "\n", encoding="utf-8")
    counts = confusion(targets, predicted, labels)
    counts.to_csv(folder / "confusion_matrix.csv")
    title = f"test: {len(targets)} clips, macro-F1 {summary['f1_macro']:.3f}"
    draw_confusion(counts, title, folder / "confusion_matrix.png")
    confusable_pairs(targets, predicted, groups, labels).to_csv(folder / "confusable_pairs.csv", index=False)
    scored = per_class[per_class["clips"] > 0]
    return {
        f"test/{metric}/{row.label}": float(getattr(row, metric))
        for row in scored.itertuples()
        for metric in ("precision", "recall", "f1")
    }
