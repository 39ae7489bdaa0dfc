"""Class weights of the loss."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from audiocls.errors import BalanceError
from audiocls.params import BalanceParams, Focal, Ldam, WeightedLoss

DEFAULT_BETA = 0.999


def class_weights(counts: dict[str, int], params: BalanceParams) -> dict[str, float] | None:
    """Return the weight of each class in the loss, or None if the method does not weight classes."""
    values = np.array(list(counts.values()))
    match params:
        case WeightedLoss() | Focal(weighting=str()):
            by_frequency = params.weighting == "inverse_frequency"
            beta = DEFAULT_BETA if params.beta is None else params.beta
            weights = inverse_frequency_weights(values) if by_frequency else effective_number_weights(values, beta)
        case Ldam():
            weights = effective_number_weights(values, params.beta)
        case _:
            return None
    return dict(zip(counts, weights.tolist(), strict=True))


def label_weights(counts: dict[str, int], num_clips: int, params: BalanceParams) -> dict[str, float] | None:
    """Return the weight of each label's presence, if clips have any number of labels; None if labels are not weighted.

    It is the number of clips without the label per clip with it, or the ratio of their effective numbers.

    Args:
        counts: Training clips with each label, each >= 1.
        num_clips: All training clips.
        params: The method.
    """
    if not isinstance(params, WeightedLoss | Focal) or params.weighting is None:
        return None
    present = np.array(list(counts.values()), np.float64)
    absent = np.maximum(num_clips - present, 1)
    if params.weighting == "effective_number":
        beta = DEFAULT_BETA if params.beta is None else params.beta
        present, absent = 1 - beta**present, 1 - beta**absent
    return dict(zip(counts, (absent / present).tolist(), strict=True))


def inverse_frequency_weights(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Weight each class by 1 / count.

    Args:
        counts: Training clips per class, shape (num_classes,), each >= 1.

    Returns:
        Shape (num_classes,), mean 1.0 over the clips, so that the loss keeps its scale.
    """
    _require_clips(counts)
    return _mean_one(1.0 / counts, counts)


def effective_number_weights(counts: NDArray[np.int64], beta: float) -> NDArray[np.float64]:
    """Weight each class by the inverse of its effective number of examples.

    Args:
        counts: Training clips per class, shape (num_classes,), each >= 1.
        beta: In [0, 1). 0 weights all classes equally; values near 1 approach 1 / count.

    Returns:
        Shape (num_classes,), mean 1.0 over the clips, so that the loss keeps its scale.

    Raises:
        BalanceError: A class has no training clips.

    Source:
        Cui et al. 2019, "Class-Balanced Loss Based on Effective Number of Samples", arXiv:1901.05555.
    """
    _require_clips(counts)
    return _mean_one((1 - beta) / (1 - np.power(beta, counts, dtype=np.float64)), counts)


def _mean_one(weights: NDArray[np.float64], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Scale to mean 1 over the clips, not over the classes, so that a batch's loss keeps its scale."""
    scaled: NDArray[np.float64] = weights * (counts.sum() / (weights * counts).sum())
    return scaled


def _require_clips(counts: NDArray[np.int64]) -> None:
    missing = np.flatnonzero(counts == 0)
    if missing.size:
        raise BalanceError(f"classes {missing.tolist()} have no training clips, so they cannot be weighted. Drop them.")
