"""Plots of a run, drawn without a display."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

# With more classes, the counts in the cells would be too small to read.
_MOST_ANNOTATED = 30
_LONGEST_NAME = 24
_MOST_COLOURS = 10
_DYNAMIC_RANGE_DB = 70.0
_GAINS = {
    "f1_macro": "macro-F1",
    "f1_rarest_third": "F1, rarest third",
    "f1_most_frequent_third": "F1, most frequent third",
    "balanced_accuracy": "balanced accuracy",
    "calibration_error": "calibration error (lower is better)",
}


@dataclass(frozen=True, slots=True)
class Panel:
    """A spectrogram to draw."""

    levels_db: NDArray[np.float32]  # (mel_bins, frames)
    seconds: float
    title: str


def draw_confusion(counts: pd.DataFrame, title: str, target: Path) -> Path:
    """Draw a confusion matrix as PNG: counts as text, fractions of the true class as color.

    Args:
        counts: Clips by true class (rows) and predicted class (columns), shape (num_classes, num_classes).
        title: Title of the plot.
        target: Path of the PNG file.
    """
    number = len(counts)
    side = float(np.clip(2.5 + 0.42 * number, 5, 24))
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.add_subplot()
    values = counts.to_numpy()
    fractions = values / np.maximum(values.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(fractions, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, shrink=0.7, label="fraction of the true class")
    names = [shortened(str(name)) for name in counts.index]
    axes.set_xticks(range(number), names, rotation=90, parse_math=False)
    axes.set_yticks(range(number), names, parse_math=False)
    axes.set(xlabel="predicted", ylabel="true")
    axes.set_title(title, parse_math=False)
    if number <= _MOST_ANNOTATED:
        for (row, column), count in np.ndenumerate(values):
            colour = "white" if fractions[row, column] > 0.5 else "black"
            axes.text(column, row, str(count) if count else "", ha="center", va="center", color=colour, fontsize=8)
    return _save(figure, target)


def draw_label_scores(table: pd.DataFrame, title: str, target: Path) -> Path:
    """Draw average precision and F1 of each label as PNG, the most frequent label first, over the labels' frequency.

    Args:
        table: As `metrics.per_label_metrics` returns it.
        title: Title of the plot.
        target: Path of the PNG file.
    """
    shown = table[table["clips"] > 0].sort_values(["clips", "label"], ascending=[False, True])
    figure = Figure(figsize=(8, float(np.clip(1.8 + 0.32 * len(shown), 3, 40))), layout="constrained")
    axes = figure.add_subplot()
    positions = np.arange(len(shown))
    axes.barh(positions - 0.2, shown["average_precision"], height=0.4, label="average precision", color="#3182bd")
    axes.barh(positions + 0.2, shown["f1"], height=0.4, label="F1", color="#9ecae1")
    names = [f"{shortened(row.label)} ({row.clips})" for row in shown.itertuples()]
    axes.set_yticks(positions, names, parse_math=False)
    axes.invert_yaxis()
    axes.set(xlim=(0, 1), ylabel="label (test clips that have it)")
    axes.set_title(title, parse_math=False)
    figure.legend(frameon=False, loc="outside lower right", ncols=2)
    return _save(figure, target)


def draw_calibration(bins: pd.DataFrame, curve: pd.DataFrame, target: Path) -> Path:
    """Draw a reliability diagram, and the risk over the coverage, as PNG.

    Args:
        bins: As `metrics.reliability` returns it.
        curve: As `metrics.risk_coverage` returns it.
        target: Path of the PNG file.
    """
    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot([0, 1], [0, 1], color="0.6", linewidth=1)
    sizes = 20 + 180 * bins["clips"] / bins["clips"].max()
    left.scatter(bins["confidence"], bins["accuracy"], s=sizes, color="#3182bd", alpha=0.8)
    left.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="fraction that is right")
    left.set_title("Reliability (size: clips)")
    right.plot(curve["coverage"], curve["risk"], color="#3182bd")
    right.set(xlim=(0, 1), ylim=(0, None), xlabel="fraction of clips answered", ylabel="fraction of answers wrong")
    right.set_title("Risk over coverage")
    return _save(figure, target)


def draw_class_counts(before: dict[str, int], after: dict[str, int], target: Path) -> Path:
    """Draw the training clips per class before and after balancing as PNG, the most frequent class first."""
    names = sorted(before, key=lambda name: (-before[name], name))
    figure = Figure(figsize=(8, float(np.clip(1.5 + 0.3 * len(names), 3, 40))), layout="constrained")
    axes = figure.add_subplot()
    positions = np.arange(len(names))
    axes.barh(positions - 0.2, [before[name] for name in names], height=0.4, label="before", color="#9ecae1")
    axes.barh(positions + 0.2, [after.get(name, 0) for name in names], height=0.4, label="after", color="#3182bd")
    axes.set_yticks(positions, [shortened(name) for name in names], parse_math=False)
    axes.invert_yaxis()
    axes.set(xlabel="training clips per epoch")
    axes.legend()
    return _save(figure, target)


def draw_spectrograms(rows: Mapping[str, Sequence[Panel]], target: Path) -> Path:
    """Draw named rows of spectrograms as PNG, with a common time axis and color scale."""
    columns = max(map(len, rows.values()))
    figure = Figure(figsize=(1.5 + 3 * columns, 1.1 + 1.3 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), columns, sharex=True, squeeze=False)
    panels = [panel for row in rows.values() for panel in row]
    top_db, seconds = max(float(panel.levels_db.max()) for panel in panels), max(panel.seconds for panel in panels)
    scale = {"vmin": top_db - _DYNAMIC_RANGE_DB, "vmax": top_db, "cmap": "magma", "origin": "lower", "aspect": "auto"}
    for axes_row, (name, row) in zip(grid, rows.items(), strict=True):
        for axes, panel in zip(axes_row, row, strict=True):
            bins = len(panel.levels_db)
            image = axes.imshow(panel.levels_db, extent=(0, panel.seconds, 0, bins), **scale)
            axes.set_title(shortened(panel.title), fontsize=8, parse_math=False)
            axes.set(yticks=[], xlim=(0, seconds), facecolor="black")
        axes_row[0].set_ylabel(shortened(name), rotation=0, ha="right", va="center", parse_math=False)
    for axes in grid[-1]:
        axes.set_xlabel("seconds")
    figure.colorbar(image, ax=grid, label="dB below full scale", fraction=0.03)
    return _save(figure, target)


def draw_embeddings(
    points: NDArray[np.float32], labels: NDArray[np.str_], synthetic: NDArray[np.bool_], target: Path
) -> Path:
    """Draw the first two principal components of embeddings as PNG, synthetic samples as crosses.

    Args:
        points: Shape (num_rows, 2).
        labels: Classes, shape (num_rows,); the first ten by name have their own color, the rest are gray.
        synthetic: Shape (num_rows,).
        target: Path of the PNG file.
    """
    figure = Figure(figsize=(9, 7), layout="constrained")
    axes = figure.add_subplot()
    names = sorted(set(labels.tolist()))
    for number, name in enumerate(names):
        colour = f"C{number}" if number < _MOST_COLOURS else "#bbbbbb"
        label = shortened(name) if number < _MOST_COLOURS else f"{len(names) - _MOST_COLOURS} more classes"
        for made, marker in ((False, "o"), (True, "x")):
            chosen = points[(labels == name) & (synthetic == made)]
            text = label if not made and number <= _MOST_COLOURS else None
            axes.scatter(
                chosen[:, 0], chosen[:, 1], s=14, marker=marker, color=colour, alpha=0.6, linewidths=0.8, label=text
            )
    axes.set(xlabel="first principal component", ylabel="second principal component")
    axes.set_title(f"{int((~synthetic).sum())} clips (dots), {int(synthetic.sum())} synthetic samples (crosses)")
    for entry in axes.legend(loc="best", fontsize=8).get_texts():
        entry.set_parse_math(False)
    return _save(figure, target)


def draw_gains(scores: pd.DataFrame, title: str, target: Path) -> Path:
    """Draw the gain of each method over `none` as PNG: one panel per metric, one row per method, best macro-F1 on top.

    Args:
        scores: One row per method: `method`, and `_gain`, `_gain_low` and `_gain_high` of each metric.
        title: Title of the plot.
        target: Path of the PNG file.
    """
    scores = scores[scores["method"] != "none"]
    figure = Figure(figsize=(13, 1.6 + 0.32 * len(scores)), layout="constrained")
    positions = np.arange(len(scores))
    for axes, (metric, name) in zip(figure.subplots(1, len(_GAINS), sharey=True), _GAINS.items(), strict=True):
        gain, low, high = (scores[f"{metric}_gain{part}"].to_numpy(float) for part in ("", "_low", "_high"))
        # A lower calibration error is better.
        better, worse = (high < 0, low > 0) if metric == "calibration_error" else (low > 0, high < 0)
        for chosen, colour in ((better, "#2ca02c"), (worse, "#d62728"), (~better & ~worse, "#7f7f7f")):
            axes.hlines(positions[chosen], low[chosen], high[chosen], color=colour, linewidth=2)
            axes.plot(gain[chosen], positions[chosen], "o", color=colour)
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set_title(name, fontsize=10)
        axes.grid(axis="x", alpha=0.3)
    axes.set_yticks(positions, scores["method"])
    axes.invert_yaxis()
    figure.suptitle(f"{title}; green: better, red: worse, grey: may be chance", fontsize=10)
    return _save(figure, target)


def shortened(name: str) -> str:
    """Truncate a name that is too long for a plot."""
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def _save(figure: Figure, target: Path) -> Path:
    FigureCanvasAgg(figure)
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=110)
    return target
