"""The summary of a saved model that was evaluated on a corpus, in Markdown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audiocls.errors import counted
from audiocls.evaluation.report import (
    SHOWN_METRICS,
    SHOWN_OF_LABEL_SETS,
    link_to_run,
    weak_spots_lines,
)
from audiocls.evaluation.saved_model import SavedModel
from audiocls.evaluation.score_intervals import score_intervals
from audiocls.evaluation.scoring import Evaluation
from audiocls.evaluation.selection import Selection
from audiocls.markdown import escaped
from audiocls.metrics import Interval, interval, multi_label_jackknife
from audiocls.sources import is_multi_label, targets_of
from audiocls.tracking import TrackedRun
from audiocls.waveforms import Corpus, quarantine_summary

_SHOWN_CLASSES: Final = 30


def summarise_model(
    run: TrackedRun, model: SavedModel, corpus: Corpus, selection: Selection, evaluation: Evaluation, page: Path
) -> str:
    """Return the result, what was scored and what was left out, the metrics and where the results are."""
    intervals = intervals_of_test(evaluation.folder / "predictions.parquet", model.settings.labels)
    key = "map_macro" if model.settings.multi_label else "f1_macro"
    shown = SHOWN_OF_LABEL_SETS if model.settings.multi_label else SHOWN_METRICS
    groups = counted(selection.groups, "group")
    lines = [
        f"**{shown[key]} {with_ends(intervals[key], 3)}** on {counted(selection.num_clips, 'clip')} of {groups}.",
        "",
        f"Model: `{escaped(model.asked)}`. Audit of the data: {escaped(_verdict(run))}",
        "",
        *(line for each in (quarantine_summary(corpus),) if each for line in (each, "")),
        "",
        *(line for each in (*selection.sentences(), *model.notes) for line in (escaped(each), "")),
        *_with_unknown(selection, evaluation),
        "| | test | 95 % interval |",
        "|---|---|---|",
    ]
    for name, title in shown.items():
        if f"test/{name}" in evaluation.metrics:
            ends = _ends(intervals[name]) if name in intervals else ""
            lines.append(f"| {title} | {evaluation.metrics[f'test/{name}']:.4f} | {ends} |")
    lines += [
        "",
        "The intervals hold for other groups of such recordings, and for this model.",
        "",
        *weak_spots_lines(evaluation.folder),
        *_class_table(evaluation.folder / "classification_report.csv"),
        "",
        f"Report page: `{page}`",
        "",
        f"MLflow run: {link_to_run(run)}",
    ]
    return "\n".join(lines)


def _verdict(run: TrackedRun) -> str:
    said = json.loads((run.folder / "data" / "audit.json").read_text(encoding="utf-8"))
    return str(said["verdict"])


def intervals_of_test(predictions: Path, labels: list[str]) -> dict[str, Interval]:
    """Return the 95 % intervals of the metrics of test, over groups.

    Args:
        predictions: `predictions.parquet` of an evaluation.
        labels: Class names; the position is the class index.
    """
    table = pd.read_parquet(predictions)
    test = table[table["split"] == "test"]
    targets, groups = targets_of(test, labels), test["group"].to_numpy(str)
    index = {label: i for i, label in enumerate(labels)}
    if not is_multi_label(test):
        return score_intervals(targets, test["predicted"].map(index).to_numpy(np.int64), groups, len(labels))
    probabilities = test[[f"probability/{label}" for label in labels]].to_numpy()
    found = multi_label_jackknife(targets, probabilities, _given(test["predicted"], index), groups)
    return {name: interval(scores, fraction=True) for name, scores in found.items()}


def _given(predicted: pd.Series, index: dict[str, int]) -> NDArray[np.bool_]:
    given = np.zeros((len(predicted), len(index)), bool)
    for row, labels in enumerate(predicted):
        given[row, [index[label] for label in labels]] = True
    return given


def with_ends(found: Interval, digits: int = 4) -> str:
    """Write a score with its interval."""
    return f"{float(np.squeeze(found.value)):.{digits}f} ({_ends(found, digits)})"


def _ends(found: Interval, digits: int = 4) -> str:
    low, high = (float(np.squeeze(end)) for end in (found.low, found.high))
    return "too few groups for an interval" if np.isnan(low) else f"{low:.{digits}f} to {high:.{digits}f}"


def _with_unknown(selection: Selection, evaluation: Evaluation) -> list[str]:
    accuracy = accuracy_with_unknown(selection, evaluation.metrics)
    return [] if accuracy is None else [f"Accuracy if these count as wrong: {accuracy:.4f}.", ""]


def accuracy_with_unknown(selection: Selection, metrics: dict[str, float]) -> float | None:
    """Return the accuracy if clips with labels that the model does not know count as wrong; None if there are none."""
    unknown = sum(selection.unknown.values())
    if not unknown or "test/accuracy" not in metrics:
        return None
    return metrics["test/accuracy"] * selection.num_clips / (selection.num_clips + unknown)


def _class_table(report: Path) -> list[str]:
    """List the classes that have clips, lowest F1 first, and the number of omitted ones."""
    table = pd.read_csv(report, dtype={"label": str}, keep_default_na=False, na_values={"f1": [""]})
    absent = int((table["clips"] == 0).sum())
    table = table[table["clips"] > 0].sort_values("f1", kind="stable")
    lines = [
        "By class, the lowest F1 first:",
        "",
        "| class | clips | precision | recall | F1 |",
        "|---|---|---|---|---|",
    ]
    for row in table.head(_SHOWN_CLASSES).to_dict(orient="records"):
        scores: list[Any] = [row[name] for name in ("precision", "recall", "f1")]
        cells = ["" if each == "" or pd.isna(each) else f"{float(each):.4f}" for each in scores]
        lines.append(f"| {' | '.join([escaped(row['label']), str(row['clips']), *cells])} |")
    left_out = len(table) - _SHOWN_CLASSES
    if left_out > 0:
        lines += ["", f"{counted(left_out, 'more class is', 'more classes are')} in `{report}`"]
    if absent:
        lines += ["", f"{counted(absent, 'class')} of the model have no clip here."]
    return lines
