"""The threshold of each label, from which on it is predicted: chosen for F1 on validation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
DEFAULT_THRESHOLD: Final = 0.5
FEWEST_CLIPS: Final = 5
"""A label that fewer clips of validation have keeps DEFAULT_THRESHOLD."""

_FOLDS: Final = 5
# Expected F1 of chance results: a threshold is moved towards the default as if so many clips had confirmed that.
_PRIOR_CLIPS: Final = 2.0


def fit_thresholds(targets: Floats, probabilities: Floats) -> NDArray[np.float64]:
    """Choose the threshold of each label by F1.

    Between two neighboring probabilities that are equally good, the threshold is in the middle, and so it is in the
    middle of the best range if several thresholds have the same F1.

    Args:
        targets: 1, 0 or NaN (unknown), shape (num_clips, num_classes).
        probabilities: The same shape.

    Returns:
        Shape (num_classes,); DEFAULT_THRESHOLD for a label that fewer than FEWEST_CLIPS clips have.
    """
    return np.array([_best(true, scores) for true, scores in zip(targets.T, probabilities.T, strict=True)])


def _best(true: Floats, scores: Floats) -> float:
    known = ~np.isnan(true)
    true, scores = true[known], scores[known].astype(np.float64)
    positives = true.sum()
    if positives < FEWEST_CLIPS:
        return DEFAULT_THRESHOLD
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    hits = np.cumsum(true[order])
    f1 = 2 * hits / (np.arange(1, len(true) + 1) + positives)
    # Only between different scores can a threshold lie.
    allowed = np.append(ranked[:-1] > ranked[1:], True)
    best = np.flatnonzero(allowed & (f1 >= f1[allowed].max() - 1e-12))
    middle = best[len(best) // 2]
    below = ranked[middle + 1] if middle + 1 < len(ranked) else 0.0
    return float((ranked[middle] + below) / 2)


def cross_fitted(
    targets: Floats, probabilities: Floats, groups: NDArray[Any], seed: int
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Predict labels by thresholds that were fitted on the other groups, so that scores of them are not too good.

    Returns:
        Which labels are predicted, shape (num_clips, num_classes), and the thresholds of each clip, the same shape.
    """
    thresholds = np.full(targets.shape, DEFAULT_THRESHOLD)
    for held_out in _folds(groups, seed):
        thresholds[held_out] = fit_thresholds(targets[~held_out], probabilities[~held_out])
    return probabilities >= thresholds, thresholds


def _folds(groups: NDArray[Any], seed: int) -> Iterator[NDArray[np.bool_]]:
    names, group = np.unique(groups, return_inverse=True)
    fold = np.random.default_rng(seed).permutation(len(names)) % min(_FOLDS, len(names))
    if len(names) < 2:
        return
    for number in range(fold.max() + 1):
        yield fold[group] == number
