"""Calibration: the temperature of a model, fitted on validation, and what its confidence is worth on test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from audiocls.evaluation.held_out import HeldOut
from audiocls.metrics import (
    WindowPooler,
    area_under_risk_coverage,
    calibration_error,
    classwise_calibration_error,
    fit_temperature,
    reliability,
    risk_coverage,
)
from audiocls.params import Pooling
from audiocls.plots import draw_calibration

_MOST_WINDOWS = 50_000  # of validation, to fit one number by


def choose_temperature(held_out: HeldOut, pooling: Pooling) -> float:
    """Return the temperature that makes validation most likely, with the windows pooled as they will be.

    Args:
        held_out: Validation; of clips with one label.
        pooling: Of the windows.
    """
    clips = int(np.searchsorted(np.cumsum(held_out.per_clip), _MOST_WINDOWS, side="right"))
    used = slice(0, int(held_out.per_clip[:clips].sum()))
    logits, clip = np.array(held_out.logits[used]), held_out.windows.clip[used]
    targets = torch.tensor(held_out.targets[:clips])

    def loss(temperature: float) -> float:
        pooled = WindowPooler(clip, pooling).add(logits / np.float32(temperature))
        return float(F.cross_entropy(torch.from_numpy(pooled).double(), targets))

    return fit_temperature(loss, clips)


def calibration_metrics(targets: NDArray[np.int64], probabilities: NDArray[np.float32]) -> dict[str, float]:
    """Return `calibration_error`, `calibration_error_classwise` and `risk_coverage_area` of some clips."""
    confidence, correct = probabilities.max(axis=1).astype(np.float64), probabilities.argmax(axis=1) == targets
    return {
        "calibration_error": calibration_error(confidence, correct),
        "calibration_error_classwise": classwise_calibration_error(probabilities.astype(np.float64), targets),
        "risk_coverage_area": area_under_risk_coverage(confidence, correct),
    }


def write_calibration(targets: NDArray[np.int64], probabilities: NDArray[np.float32], folder: Path) -> None:
    """Write `reliability.csv`, `risk_coverage.csv` and `calibration.png` of the test split."""
    confidence, correct = probabilities.max(axis=1).astype(np.float64), probabilities.argmax(axis=1) == targets
    bins, curve = reliability(confidence, correct), risk_coverage(confidence, correct)
    bins.to_csv(folder / "reliability.csv", index=False)
    _thinned(curve).to_csv(folder / "risk_coverage.csv", index=False)
    draw_calibration(bins, curve, folder / "calibration.png")


def _thinned(curve: pd.DataFrame, most: int = 1_000) -> pd.DataFrame:
    """Return at most so many rows of a curve, evenly over it."""
    rows = np.unique(np.linspace(0, len(curve) - 1, min(most, len(curve))).round().astype(int))
    return curve.iloc[rows]
