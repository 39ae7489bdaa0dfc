"""Whether probabilities mean what they say, and which answers to withhold.

A model is calibrated if, of all clips that it gives a probability of 0.8, 80 % are right.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

BINS: Final = 15
FEWEST_CLIPS: Final = 50
"""With fewer validation clips no temperature is fitted: if all are right, the best would be 0."""

_LARGEST: Final = 10.0  # temperature, and its inverse
# The penalty of a temperature e times too large or too small, as the summed loss of this many clips.
_PRIOR: Final = 0.5

Floats = NDArray[np.floating[Any]]


def bins_of(confidence: Floats) -> NDArray[np.int64]:
    """Return the bin of each clip, of BINS equal ones from 0 to 1."""
    return np.minimum((confidence * BINS).astype(np.int64), BINS - 1)


def calibration_error(confidence: Floats, correct: NDArray[np.bool_]) -> float:
    """Return the expected calibration error: the mean distance of confidence and accuracy, over bins of confidence.

    Source:
        Guo et al. 2017, "On Calibration of Modern Neural Networks", arXiv:1706.04599.
    """
    gaps = np.bincount(bins_of(confidence), correct - confidence, minlength=BINS)
    return float(np.abs(gaps).sum() / max(len(confidence), 1))


def classwise_calibration_error(probabilities: Floats, targets: NDArray[np.int64]) -> float:
    """Return the mean over the classes of the calibration error of each class's own probability.

    Source:
        Nixon et al. 2019, "Measuring Calibration in Deep Learning", arXiv:1904.01685.
    """
    return float(np.mean([calibration_error(column, targets == k) for k, column in enumerate(probabilities.T)]))


def reliability(confidence: Floats, correct: NDArray[np.bool_]) -> pd.DataFrame:
    """Return a row for each bin with clips: `confidence` and `accuracy` (means), and `clips`."""
    table = pd.DataFrame({"bin": bins_of(confidence), "confidence": confidence, "accuracy": correct.astype(float)})
    rows = table.groupby("bin").agg(
        confidence=("confidence", "mean"), accuracy=("accuracy", "mean"), clips=("bin", "size")
    )
    return rows.reset_index(drop=True)


def risk_coverage(confidence: Floats, correct: NDArray[np.bool_]) -> pd.DataFrame:
    """Return which part of the answers is wrong if only the most certain ones are given.

    Returns:
        Columns `threshold` (answers of this confidence and above are given), `coverage` (the fraction that is given)
        and `risk` (the fraction of these that is wrong); one row for each different confidence, the highest first.

    Source:
        Geifman and El-Yaniv 2017, "Selective Classification for Deep Neural Networks", arXiv:1705.08500.
    """
    order = np.argsort(-confidence, kind="stable")
    ranked = confidence[order]
    given = np.arange(1, len(ranked) + 1)
    wrong = np.cumsum(~correct[order])
    last = np.append(ranked[:-1] > ranked[1:], True)  # equal confidences are given together
    return pd.DataFrame(
        {"threshold": ranked[last], "coverage": given[last] / len(ranked), "risk": wrong[last] / given[last]}
    )


def area_under_risk_coverage(confidence: Floats, correct: NDArray[np.bool_]) -> float:
    """Return the mean risk over all coverages; 0 if every right answer is more certain than every wrong one, nearly."""
    order = np.argsort(-confidence, kind="stable")
    return float(np.mean(np.cumsum(~correct[order]) / np.arange(1, len(order) + 1)))


def fit_temperature(loss: Callable[[float], float], num_clips: int) -> float:
    """Choose the temperature that the logits are divided by.

    Args:
        loss: Returns the mean cross entropy on validation, given a temperature.
        num_clips: Of validation; with fewer than FEWEST_CLIPS the temperature is 1.

    Returns:
        From 0.1 to 10; a weak prior keeps it near 1 if validation says little.
    """
    if num_clips < FEWEST_CLIPS:
        return 1.0

    def cost(log_temperature: float) -> float:
        return num_clips * loss(float(np.exp(log_temperature))) + _PRIOR * log_temperature**2

    widest = float(np.log(_LARGEST))
    found = minimize_scalar(cost, bounds=(-widest, widest), method="bounded", options={"xatol": 1e-3})
    return float(np.exp(found.x))
