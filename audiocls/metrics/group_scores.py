"""Scores of grouped clips beside those of `intervals.py`: metrics of counts, and means of one value per clip."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiocls.metrics.intervals import Jackknife, effective_number, mean_where

Floats = NDArray[np.float64]


def precision_macro(true: Floats, found: Floats, right: Floats) -> Floats:
    """Return the mean precision over the classes that have clips; that of a class without predictions is 0."""
    return mean_where(right / np.maximum(found, 1), true > 0)


def precision_micro(true: Floats, found: Floats, right: Floats) -> Floats:
    """Return the fraction of all predictions that are correct; 0 if there are none."""
    return np.asarray(right.sum(axis=-1) / np.maximum(found.sum(axis=-1), 1))


def recall_micro(true: Floats, found: Floats, right: Floats) -> Floats:
    """Return the fraction of all true labels that are predicted; NaN if there are none."""
    labels = true.sum(axis=-1)
    return np.where(labels > 0, right.sum(axis=-1) / np.maximum(labels, 1), np.nan)


def f1_micro(true: Floats, found: Floats, right: Floats) -> Floats:
    """Return the harmonic mean of both; NaN if there are neither true labels nor predictions."""
    both = true.sum(axis=-1) + found.sum(axis=-1)
    return np.where(both > 0, 2 * right.sum(axis=-1) / np.maximum(both, 1), np.nan)


def mean_jackknife(values: NDArray[Any], groups: NDArray[Any]) -> Jackknife:
    """Compute the mean of one value per clip, such as its loss, without each group.

    Args:
        values: Shape (num_clips,).
        groups: Groups of the clips, shape (num_clips,).
    """
    group = np.unique(groups, return_inverse=True)[1]
    clips, sums = np.bincount(group).astype(np.float64), np.bincount(group, values.astype(np.float64))
    # A single group leaves no clips, and has no interval.
    without = (sums.sum() - sums) / np.maximum(clips.sum() - clips, 1)
    return Jackknife(sums.sum(keepdims=True) / clips.sum(), without[None], effective_number(clips))
