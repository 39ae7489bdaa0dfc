"""Score predictions in files against the annotations of a corpus, and report the scores."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from audiocls.errors import DataError, ParamsError, counted, name_some
from audiocls.evaluation.annotations import Annotated
from audiocls.evaluation.detections import Detections
from audiocls.evaluation.grid import Grid, build_grid, count_events, label_rows
from audiocls.files import replacing, write_table
from audiocls.markdown import escaped
from audiocls.metrics import (
    FEWEST_GROUPS,
    GroupCounts,
    Interval,
    balanced_accuracy,
    f1_macro,
    f1_micro,
    interval,
    jackknife,
    jackknife_average_precision,
    multi_label_jackknife,
    precision_macro,
    precision_micro,
    recall_micro,
)

_NAMES: Final = {
    "f1_macro": "F1, macro",
    "f1_micro": "F1, micro",
    "precision_micro": "Precision, micro",
    "recall_micro": "Recall, micro",
    "map_macro": "Average precision, macro (mAP)",
    "exact_match": "All labels of a cell right",
    "event_f1": "Event F1",
    "event_precision": "Event precision",
    "event_recall": "Event recall",
}
_MICRO: Final = {"f1": f1_micro, "precision": precision_micro, "recall": recall_micro}
_OF_LABEL: Final = {"precision": precision_macro, "recall": balanced_accuracy, "f1": f1_macro}
_SHOWN_LABELS: Final = 30


@dataclass(frozen=True, slots=True)
class GridOptions:
    """How predictions in files are read and scored; None: the default."""

    grid_seconds: float | None = None
    """Length of a cell of the time grid."""
    collar_seconds: float | None = None
    """By how much the times of events may differ."""
    label_column: str | None = None
    """Of Raven's tables."""

    def __post_init__(self) -> None:
        for name, least in (("grid_seconds", 0.01), ("collar_seconds", 0.0)):
            value = getattr(self, name)
            if value is not None and not least <= value <= 3_600:
                raise ParamsError(f"--{name.replace('_', '-')} {value:g}: must be from {least:g} to 3600.")

    @property
    def grid(self) -> float:
        """Length of a cell in seconds."""
        return 1.0 if self.grid_seconds is None else self.grid_seconds

    @property
    def collar(self) -> float:
        """Seconds by which the times of events may differ."""
        return 0.2 if self.collar_seconds is None else self.collar_seconds

    def check_unused(self) -> None:
        """Check that nothing was asked for, as a model is evaluated.

        Raises:
            ParamsError: Something was.
        """
        for name, value in asdict(self).items():
            if value is not None:
                raise ParamsError(
                    f"--{name.replace('_', '-')}: is for predictions in files, not for a model; leave it out."
                )


@dataclass(frozen=True, slots=True)
class GridReport:
    """The scores of predictions on a grid.

    Attributes:
        folder: Of `predictions.parquet`, `classification_report.csv` and `.json`.
        metrics: Named `test/...`.
        intervals: By name without `test/`.
        labels: A row per label: `label`, `clips` (cells), `groups`, and scores with `_low` and `_high`.
        cells: Number of cells.
        recordings: Number of recordings.
        groups: Number of groups.
        notes: What was left out, a sentence each.
        left_out: Annotated recordings that were not predicted, and predictions of no recording of the corpus.
    """

    folder: Path
    metrics: dict[str, float]
    intervals: dict[str, Interval]
    labels: pd.DataFrame
    cells: int
    recordings: int
    groups: int
    notes: tuple[str, ...]
    left_out: dict[str, int]


def score_detections(
    recordings: Sequence[Annotated],
    found: Detections,
    folder: Path,
    options: GridOptions,
) -> GridReport:
    """Score predictions against annotations, and write the report.

    Args:
        recordings: Of the corpus.
        found: The predictions.
        folder: Gets the report.
        options: Of the grid and the events.

    Raises:
        DataError: The recordings have no event.
    """
    scored = [
        each for each in recordings if each.path in found.of or (found.is_whole and each.path not in found.refused)
    ]
    if not any(each.events for each in scored):
        raise DataError(f"{counted(len(scored), 'recording')} with predictions: none has an annotated event.")
    grid = build_grid(scored, found, options.grid)
    intervals = _overall(grid)
    counts = count_events(scored, found.of, grid.labels, options.collar)
    if counts is not None:
        intervals |= {
            f"event_{name}": interval(jackknife(counts, metric), fraction=True) for name, metric in _MICRO.items()
        }
    labels = _by_label(grid, counts)
    metrics = {f"test/{name}": float(np.squeeze(each.value)) for name, each in intervals.items()}
    for row in labels.to_dict(orient="records"):
        metrics |= {f"test/{name}/{row['label']}": row[name] for name in _OF_LABEL}
    report = GridReport(
        folder,
        metrics,
        intervals,
        labels,
        len(grid.cells),
        len(scored),
        len(np.unique(grid.groups)),
        tuple(_notes(recordings, scored, found, grid, has_events=counts is not None)),
        {"not_predicted": len(recordings) - len(scored), "unmatched": len(found.unmatched)},
    )
    _write(report, grid)
    return report


def _overall(grid: Grid) -> dict[str, Interval]:
    scores = grid.given.astype(np.float32) if grid.scores is None else grid.scores
    counts = GroupCounts.of_label_sets(grid.true, grid.given, grid.groups)
    found = {f"{name}_micro": jackknife(counts, metric) for name, metric in _MICRO.items()}
    every = multi_label_jackknife(grid.true.astype(np.float32), scores, grid.given, grid.groups)
    names = ["f1_macro", *(["map_macro", "map_micro", "auroc_macro"] if grid.scores is not None else []), "exact_match"]
    return {
        name: interval(each, fraction=True)
        for name, each in ({name: every[name] for name in names} | found).items()
        if not np.isnan(each.whole).any()
    }


def _by_label(grid: Grid, events: GroupCounts | None) -> pd.DataFrame:
    counts = GroupCounts.of_label_sets(grid.true, grid.given, grid.groups)
    rows = []
    for column, label in enumerate(grid.labels):
        here, one = grid.true[:, column], np.array([column])
        scores = {name: jackknife(counts.of_classes(one), metric) for name, metric in _OF_LABEL.items()}
        if grid.scores is not None and here.any():
            scores["average_precision"] = jackknife_average_precision(here, grid.scores[:, column], grid.groups)
        if events is not None:
            scores["event_f1"] = jackknife(events.of_classes(one), f1_micro)
        groups = len(np.unique(grid.groups[here]))
        row: dict[str, Any] = {"label": label, "clips": int(here.sum()), "groups": groups}
        for name, each in scores.items():
            level = interval(each, fraction=True)
            row[name] = float(np.squeeze(level.value))
            for end in ("low", "high"):
                row[f"{name}_{end}"] = float(np.squeeze(getattr(level, end))) if groups >= FEWEST_GROUPS else np.nan
        rows.append(row)
    return pd.DataFrame(rows)


def _notes(
    recordings: Sequence[Annotated], scored: Sequence[Annotated], found: Detections, grid: Grid, *, has_events: bool
) -> list[str]:
    said = []
    silent = sum(each.path not in found.of for each in scored)
    if silent:
        said.append(f"{counted(silent, 'recording has', 'recordings have')} no prediction: nothing was found in them.")
    left = len(recordings) - len(scored)
    if left:
        said.append(
            f"{counted(left, 'annotated recording was', 'annotated recordings were')} not predicted, and left out."
        )
    if found.unmatched:
        names = name_some(dict.fromkeys(found.unmatched), 5)
        said.append(
            f"{counted(len(found.unmatched), 'prediction is', 'predictions are')} of no recording here: {names}."
        )
    others = sorted({each.label for events in found.of.values() for each in events} - set(grid.labels))
    if others:
        said.append(
            f"{counted(len(others), 'predicted label is', 'predicted labels are')} not annotated, and not scored: "
            f"{name_some(others)}."
        )
    if grid.scores is None:
        said.append("Some predictions have no probability, so there is no average precision.")
    if not has_events:
        said.append("Predictions of a label overlap: they are windows, so no events are scored.")
    return said


def _write(report: GridReport, grid: Grid) -> None:
    folder = report.folder
    folder.mkdir(parents=True, exist_ok=True)
    write_table(label_rows(grid), folder / "predictions.parquet")
    report.labels.to_csv(folder / "classification_report.csv", index=False)
    rows = report.labels.astype(object).where(report.labels.notna(), None).to_dict(orient="records")
    summary = {
        name: {end: _or_none(getattr(each, end)) for end in ("value", "low", "high")}
        for name, each in report.intervals.items()
    }
    content = {"summary": summary, "classes": rows, "notes": report.notes}
    with replacing(folder / "classification_report.json") as part:
        part.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _or_none(value: Any) -> float | None:
    number = float(np.squeeze(value))
    return None if np.isnan(number) else number


def summarise_detections(report: GridReport, predictions: str, options: GridOptions) -> str:
    """Return the scores, what was left out and where the report is, in Markdown."""
    size = f"{counted(report.cells, 'cell')} of {options.grid:g} s in {counted(report.recordings, 'recording')}"
    lines = [
        f"**F1, macro {_levelled(report.intervals['f1_macro'])}** on {size} of {counted(report.groups, 'group')}.",
        "",
        f"Predictions: `{escaped(predictions)}`.",
        "",
        *(line for note in report.notes for line in (escaped(note), "")),
        "| | | 95 % interval |",
        "|---|---|---|",
    ]
    for name, title in _NAMES.items():
        if name in report.intervals:
            found = report.intervals[name]
            lines.append(f"| {title} | {float(np.squeeze(found.value)):.4f} | {_ends(found)} |")
    lines += [
        "",
        f"Events match within {options.collar:g} s. The intervals hold for other groups of such recordings.",
        "",
    ]
    return "\n".join([*lines, *_label_table(report.labels), "", f"Report: `{report.folder}`"])


def _levelled(found: Interval) -> str:
    return f"{float(np.squeeze(found.value)):.3f} ({_ends(found)})"


def _ends(found: Interval) -> str:
    low, high = (float(np.squeeze(end)) for end in (found.low, found.high))
    return "too few groups for an interval" if np.isnan(low) else f"{low:.3f} to {high:.3f}"


def _label_table(labels: pd.DataFrame) -> list[str]:
    shown = {
        "precision": "precision",
        "recall": "recall",
        "f1": "F1",
        "average_precision": "average precision",
        "event_f1": "event F1",
    }
    names = [name for name in shown if name in labels]
    heads = ["label", "cells", "groups", *(shown[name] for name in names)]
    lines = ["By label, the lowest F1 first:", "", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for row in labels.sort_values("f1", kind="stable").head(_SHOWN_LABELS).to_dict(orient="records"):
        cells = [escaped(row["label"]), str(row["clips"]), str(row["groups"]), *(_cell(row, name) for name in names)]
        lines.append(f"| {' | '.join(cells)} |")
    left_out = len(labels) - _SHOWN_LABELS
    more = ["", f"{counted(left_out, 'more label is', 'more labels are')} in the report."] if left_out > 0 else []
    return [*lines, *more]


def _cell(row: Mapping[str, Any], name: str) -> str:
    if pd.isna(row[name]):
        return ""
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return f"{row[name]:.3f}" if pd.isna(low) else f"{row[name]:.3f} [{low:.3f}, {high:.3f}]"
