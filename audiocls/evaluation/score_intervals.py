"""The 95 % intervals of the scores of clips with one label each."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from audiocls.metrics import (
    GroupCounts,
    Interval,
    accuracy,
    balanced_accuracy,
    correlation_interval,
    f1_macro,
    interval,
    jackknife,
    matthews,
)

_FRACTIONS: Final = {"accuracy": accuracy, "balanced_accuracy": balanced_accuracy, "f1_macro": f1_macro}


def score_intervals(
    targets: NDArray[np.int64], predicted: NDArray[np.int64], groups: NDArray[Any], num_classes: int
) -> dict[str, Interval]:
    """Return `accuracy`, `balanced_accuracy`, `f1_macro` and `matthews` with intervals over groups.

    Args:
        targets: Class indices, shape (num_clips,).
        predicted: The same shape.
        groups: Of the clips, the same shape.
        num_classes: Number of classes.
    """
    counts = GroupCounts.of(targets, predicted[None], groups, num_classes)
    found = {name: interval(jackknife(counts, metric), fraction=True) for name, metric in _FRACTIONS.items()}
    return found | {"matthews": correlation_interval(jackknife(counts, matthews))}
