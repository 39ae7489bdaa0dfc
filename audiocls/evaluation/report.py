"""The summary of a run, in Markdown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import pandas as pd

from audiocls.balance import Balanced
from audiocls.errors import counted, name_some
from audiocls.evaluation.scoring import WINDOWED, Evaluation
from audiocls.files import masked
from audiocls.markdown import escaped
from audiocls.params import Pooling
from audiocls.splits import dropped_summary
from audiocls.tracking import TrackedRun
from audiocls.training import TrainedModel
from audiocls.waveforms import Corpus, lost_summary, quarantine_summary, read_counts

SHOWN_METRICS: Final = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "precision_macro": "Precision, macro",
    "recall_macro": "Recall, macro",
    "f1_macro": "F1, macro",
    "f1_weighted": "F1, weighted",
    "auroc_macro": "Area under the ROC curve, macro",
    "matthews": "Matthews' correlation",
    "loss": "Log loss",
    "calibration_error": "Calibration error",
}
SHOWN_OF_LABEL_SETS: Final = {
    "map_macro": "Average precision, macro (mAP)",
    "map_micro": "Average precision, micro",
    "lwlrap": "Label-ranking average precision",
    "auroc_macro": "Area under the ROC curve, macro",
    "d_prime": "d'",
    "f1_macro": "F1, macro",
    "f1_micro": "F1, micro",
    "exact_match": "All labels right",
}
_SHOWN_CLASSES = 30


def summarise(
    run: TrackedRun, corpus: Corpus, splits: Path, balanced: Balanced, model: TrainedModel, evaluation: Evaluation
) -> str:
    """Return the data, the model, the metrics and the locations of the results, in Markdown."""
    shown = SHOWN_METRICS if "test/accuracy" in evaluation.metrics else SHOWN_OF_LABEL_SETS
    rows = [
        f"| {name} | {evaluation.metrics['validation/' + key]:.4f} | {evaluation.metrics['test/' + key]:.4f} |"
        for key, name in shown.items()
        if f"test/{key}" in evaluation.metrics
    ]
    left_out = ". ".join(filter(None, [quarantine_summary(corpus), dropped_summary(splits)]))
    lines = [
        f"**{corpus.num_clips} clips**, {len(balanced.counts_before)} classes. {left_out}".strip(),
        "",
        *_lost_lines(corpus),
        f"**{model.num_parameters:,} parameters**, {model.num_trainable:,} of them trained for "
        f"{counted(model.steps, 'step')} ({model.epochs:.4g} epochs) on {model.device} in {model.precision}; best: "
        f"step {model.best_step}.",
        "",
        "| | validation | test |",
        "|---|---|---|",
        *rows,
        "",
        *_windows_line(evaluation),
        *weak_spots_lines(evaluation.folder),
        *(line for note in evaluation.notes for line in (escaped(note), "")),
        *_held_out_line(run.folder / "balance" / "head.json"),
        *_class_table(evaluation.folder / "classification_report.csv", balanced),
        "",
        f"Model: `{model.folder}`",
        "",
        f"MLflow run: {link_to_run(run)}",
    ]
    return "\n".join(lines)


def _lost_lines(corpus: Corpus) -> list[str]:
    lost = lost_summary(read_counts(corpus.counts))
    return [f"**{escaped(lost)}.**", ""] if lost else []


_POOLED: Final[dict[Pooling, str]] = {
    "mean": "whose probabilities were averaged",
    "max": "of which each class has its highest probability",
    "vote": "each of which votes for a class",
    "attention": "whose probabilities were averaged, weighted by their certainty",
}


def _windows_line(evaluation: Evaluation) -> list[str]:
    validation, test = (int(evaluation.metrics[f"{split}/{WINDOWED}"]) for split in ("validation", "test"))
    if not validation + test:
        return []
    return [
        f"{counted(validation, 'clip')} of validation and {test} of test are longer than the model's input. Each was "
        f"scored in overlapping windows, {_POOLED[evaluation.pooling]}.",
        "",
    ]


def weak_spots_lines(folder: Path) -> list[str]:
    """Name the slices and the corruptions that fail."""
    slices, corruptions = (_failed(folder / f"{name}.csv") for name in ("slices", "robustness"))
    parts = [f"{escaped(row['column'])} = {escaped(row['value'])}" for row in slices]
    kinds = [f"{row['corruption']} (loss {float(row['loss']):.3f})" for row in corruptions]
    lines = [f"Parts of test that score lower than chance explains: {name_some(parts)}.", ""] if parts else []
    return lines + (
        [f"Corruptions that lower the score more than chance explains: {name_some(kinds)}.", ""] if kinds else []
    )


def _failed(file: Path) -> list[dict[str, str]]:
    if not file.exists():
        return []
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    return table[table["verdict"] == "fail"].to_dict(orient="records")


def _held_out_line(head: Path) -> list[str]:
    """Return a fitted head's scores on held-out folds of validation; the table shows the fitted clips."""
    said = json.loads(head.read_text(encoding="utf-8")) if head.exists() else {}
    if not said.get("applied"):
        return []
    return [
        "The head was fitted on the validation clips, so their scores above are too optimistic. On held-out "
        f"folds, macro-F1 is {said['held_out_f1_macro_changed']:.4f}; without this change, "
        f"{said['held_out_f1_macro_plain']:.4f}.",
        "",
    ]


def _class_table(report: Path, balanced: Balanced) -> list[str]:
    """List the classes, lowest F1 first, and the number of omitted ones."""
    table = pd.read_csv(report, dtype={"label": str}, keep_default_na=False, na_values={"f1": [""]})
    left_out = len(table) - _SHOWN_CLASSES
    table = table.sort_values("f1", kind="stable").head(_SHOWN_CLASSES)
    ranked = {"average_precision": "test average precision"} if "threshold" in table else {}
    heads = ["class", "training clips", "after balance", "test clips", "test F1", *ranked.values()]
    # MLflow's page leaves no gap between two tables without a line between them.
    lines = ["By class, the lowest F1 first:", "", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for row in table.to_dict(orient="records"):
        before, after = balanced.counts_before[row["label"]], balanced.counts_after[row["label"]]
        scores = ["" if pd.isna(row[name]) else f"{row[name]:.4f}" for name in ("f1", *ranked)]
        lines.append(f"| {' | '.join([escaped(row['label']), str(before), str(after), str(row['clips']), *scores])} |")
    if left_out > 0:
        lines += ["", f"{counted(left_out, 'more class is', 'more classes are')} in `{report}`"]
    return lines


def link_to_run(run: TrackedRun) -> str:
    """Say where a run and its experiment are shown."""
    if run.url:
        return f"[{run.run_id}]({run.url}); all runs: [{run.table_url}]({run.table_url})"
    return (
        f"`{run.run_id}`; `mlflow server --backend-store-uri {masked(run.uri)}` shows it at "
        f"`http://127.0.0.1:5000/{run.page}`, and all runs at `http://127.0.0.1:5000/{run.table}`"
    )
