"""The plots of an audit, as PNG in memory."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from audiocls.audit.confounds import Predictability
from audiocls.plots import shortened

_MOST_CLASSES: Final = 40
_BLUE, _PALE, _RED, _GREY = "#2b6cb0", "#bcd4ea", "#c53030", "#8a94a0"


def draw_classes(classes: Sequence[dict[str, Any]]) -> bytes:
    """Draw clips and groups of each class; if there are too many, only the most frequent and the rarest."""
    shown = list(classes)
    if len(shown) > _MOST_CLASSES:
        shown = shown[: _MOST_CLASSES // 2] + shown[-_MOST_CLASSES // 2 :]
    figure, axes = _figure(1.2 + 0.26 * len(shown))
    rows = np.arange(len(shown))
    axes.barh(rows, [row["clips"] for row in shown], color=_PALE, height=0.75, label="clips")
    axes.barh(rows, [row["groups"] for row in shown], color=_BLUE, height=0.3, label="groups")
    axes.set_yticks(rows, [shortened(str(row["label"])) for row in shown], parse_math=False)
    axes.invert_yaxis()
    figure.legend(frameon=False, loc="outside upper right", ncols=2)
    return _png(figure)


def draw_durations(histogram: dict[str, list[float]]) -> bytes:
    """Draw the histogram of clip lengths, `Census.duration_histogram`."""
    edges = histogram["edges_seconds"]
    figure, axes = _figure(2.6)
    axes.stairs(histogram["clips"], edges, fill=True, color=_BLUE)
    if edges[-1] - edges[-2] > 1.01 * (edges[1] - edges[0]):  # logarithmic steps
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set(xlabel="seconds", ylabel="clips")
    return _png(figure)


def draw_levels(clips: pd.DataFrame) -> bytes:
    """Draw the RMS and peak levels of the clips, relative to full scale."""
    peak_db = 20 * np.log10(np.maximum(clips["peak"].to_numpy(np.float64), 1e-5))
    rms_db = clips["rms_db"].to_numpy(np.float64)
    figure, axes = _figure(2.6)
    bins = np.linspace(min(rms_db.min(), peak_db.min()), max(peak_db.max(), 0.1), 46).tolist()
    axes.hist(rms_db, bins=bins, color=_BLUE, label="RMS")
    axes.hist(peak_db, bins=bins, color=_RED, histtype="step", linewidth=1.5, label="peak")
    axes.set(xlabel="dB below full scale", ylabel="clips")
    axes.legend(frameon=False)
    return _png(figure)


def draw_silence(clips: pd.DataFrame) -> bytes:
    """Draw the histogram of the fraction of silence per clip."""
    figure, axes = _figure(2.6)
    axes.hist(100 * clips["silence_fraction"].to_numpy(np.float64), bins=np.linspace(0, 100, 41).tolist(), color=_BLUE)
    axes.set(xlim=(0, 100), xlabel="percent of a clip", ylabel="clips")
    return _png(figure)


def draw_confounds(confounds: Sequence[Predictability]) -> bytes:
    """Draw how well each nuisance predicts the class, compared with chance."""
    figure, axes = _figure(0.9 + 0.42 * max(1, len(confounds)))
    for row, found in enumerate(confounds):
        axes.barh(row, found.balanced_accuracy, color=_RED if found.reported else _PALE, height=0.6)
        axes.plot([found.chance] * 2, [row - 0.38, row + 0.38], color=_GREY, label="chance" if not row else None)
        axes.plot(
            [found.threshold] * 2, [row - 0.38, row + 0.38], color="black", label="reported above" if not row else None
        )
    axes.set_yticks(range(len(confounds)), [found.nuisance for found in confounds])
    axes.invert_yaxis()
    axes.set(xlim=(0, 1), xlabel="balanced accuracy on unseen groups")
    axes.legend(frameon=False, loc="lower right")
    return _png(figure)


def _figure(height: float) -> tuple[Figure, Any]:
    figure = Figure(figsize=(6.2, max(1.6, height)), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors="#444")
    return figure, axes


def _png(figure: Figure) -> bytes:
    FigureCanvasAgg(figure)
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=130)
    return out.getvalue()
