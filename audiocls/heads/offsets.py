"""Changes of a trained head: shifts of its bias, and rescaled weights. All fold into the linear layer."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from audiocls.batches import average_windows
from audiocls.errors import BalanceError, counted
from audiocls.heads.linear import LinearHead

# Menon et al. search 0 to 2 or more; Kang et al. search 0 to 1.
ADJUSTMENT_TAUS = np.linspace(0, 2, 21)
NORM_TAUS = np.linspace(0, 1, 11)
_MOST_ROUNDS = 20
# For clips with windows: each offset recomputes the probabilities of all windows.
_MOST_WINDOWED_ROUNDS = 5
_MOST_TRIED = 64
_WIDEST, _CLOSE = 60.0, 1e-5  # in logits

Logits = NDArray[np.float64] | NDArray[np.float32]


def adjusted(head: LinearHead, counts: NDArray[np.int64], tau: float) -> LinearHead:
    """Subtract `tau * log(class frequency)` from the logits.

    Args:
        head: The trained head.
        counts: Training clips per class, shape (num_classes,), each >= 1.
        tau: 0 has no effect; 1 gives the posterior for equally frequent classes.

    Raises:
        BalanceError: A class has no training clips.

    Source:
        Menon et al. 2021, "Long-Tail Learning via Logit Adjustment", arXiv:2007.07314, equation 9.
    """
    if counts.min() < 1:
        missing = counted(
            (counts < 1).sum(), "class has no training clips, so its", "classes have no training clips, so their"
        )
        raise BalanceError(
            f"post_hoc_logit_adjustment: {missing} frequency is 0. Drop these classes from the data, or "
            "add training clips."
        )
    return LinearHead(head.weight, head.bias - tau * np.log(counts / counts.sum()))


def tau_normalised(head: LinearHead, tau: float) -> LinearHead:
    """Divide each class's weights by their norm to the power `tau`, and drop the bias.

    All weights are then rescaled by one factor, which keeps the mean norm, and thus the scale of the logits.

    Source:
        Kang et al. 2020, "Decoupling Representation and Classifier for Long-Tailed Recognition", arXiv:1910.09217,
        section 4.2.
    """
    norms = np.maximum(np.linalg.norm(head.weight, axis=1), 1e-12)
    scaled = norms ** (1 - tau)
    return LinearHead(head.weight * (scaled / norms * norms.mean() / scaled.mean())[:, None], np.zeros_like(head.bias))


def best_by_macro_f1(logits: Mapping[float, Logits], targets: NDArray[np.int64]) -> float:
    """Return the key of the logits, (num_clips, num_classes), with the best macro-F1; the smallest if tied."""
    scores = {key: _macro_f1(targets, found.argmax(axis=1), found.shape[1]) for key, found in logits.items()}
    return min(key for key, score in scores.items() if score >= max(scores.values()) - 1e-12)


def fit_offsets(
    logits: Logits, targets: NDArray[np.int64], clip: NDArray[np.int64] | None = None
) -> NDArray[np.float64]:
    """Find the offset of each class's logit for the best macro-F1, by coordinate ascent over the classes.

    The offsets are equivalent to relative thresholds of the class probabilities; the prediction is still one class.
    The offsets of classes without clips in `targets` stay 0.

    Args:
        logits: Logits of validation clips, shape (num_clips, num_classes), or with `clip`, of their windows.
        targets: The clips' class indices, shape (num_clips,).
        clip: The clip of each window, ascending from 0, shape (num_windows,). The offsets are then added to the
            windows' logits, and the probabilities averaged, as in evaluation. None: each clip is one window.

    Returns:
        Shape (num_classes,). The macro-F1 is never lower than without offsets.
    """
    offsets = np.zeros(logits.shape[1])
    windowed = clip is not None and len(clip) > len(targets)
    best = _score_windows(logits, clip, targets) if clip is not None and windowed else _score(logits, targets)
    for _ in range(_MOST_WINDOWED_ROUNDS if windowed else _MOST_ROUNDS):
        before = best
        for index in np.unique(targets):
            if clip is not None and windowed:
                offset, score = _best_windowed_offset(logits + offsets, clip, targets, int(index))
            else:
                offset, score = _best_offset(logits + offsets, targets, int(index))
            if score > best + 1e-12:
                offsets[index] += offset
                best = score
        if best == before:
            break
    return offsets


def _best_offset(logits: Logits, targets: NDArray[np.int64], index: int) -> tuple[float, float]:
    """Return the best offset of one class's logit, midway between clips, and its macro-F1."""
    others = np.delete(logits, index, axis=1)
    rivals = others.argmax(axis=1)
    rivals += rivals >= index
    # A clip is predicted as the class once the offset exceeds its gap.
    gaps = others.max(axis=1) - logits[:, index]
    order = np.argsort(gaps, kind="stable")
    gaps = gaps[order]
    classes = np.arange(logits.shape[1])
    true = targets[order, None] == classes
    lost = rivals[order, None] == classes
    # Predictions and correct predictions of each class after the first k clips flip, k = 0 ... num_clips.
    predicted = lost.sum(axis=0) - _running(lost)
    right = (lost & true).sum(axis=0) - _running(lost & true)
    predicted[:, index] = np.arange(len(gaps) + 1)
    right[:, index] = _running(true[:, [index]])[:, 0]
    present = true.sum(axis=0)
    f1 = np.where(present > 0, 2 * right / np.maximum(predicted + present, 1), np.nan)
    scores = np.nanmean(f1, axis=1)
    edges = np.concatenate([[gaps[0] - 1], (gaps[1:] + gaps[:-1]) / 2, [gaps[-1] + 1]])
    scores[1:-1][gaps[1:] - gaps[:-1] < 1e-9] = -1  # no offset lies between equal gaps
    candidates = np.flatnonzero(scores >= scores.max() - 1e-12)
    chosen = candidates[np.abs(edges[candidates]).argmin()]
    return float(edges[chosen]), float(scores[chosen])


def _best_windowed_offset(
    logits: Logits, clip: NDArray[np.int64], targets: NDArray[np.int64], index: int
) -> tuple[float, float]:
    """Return the best offset of one class's logit in all windows, and the macro-F1 of the clips.

    An offset can also change which other class is predicted, so each one is scored in full. With more than
    `_MOST_TRIED` clips, only some of the offsets between clips are tried.
    """
    flips = np.unique(_flips(logits, clip, index))
    between = np.concatenate([[flips[0] - 1], (flips[1:] + flips[:-1]) / 2, [flips[-1] + 1]])
    chosen = np.unique(np.linspace(0, len(between) - 1, min(len(between), _MOST_TRIED)).round().astype(int))
    scores = [_score_windows(_shifted(logits, index, offset), clip, targets) for offset in between[chosen]]
    best = np.flatnonzero(np.array(scores) >= max(scores) - 1e-12)
    nearest = best[np.abs(between[chosen][best]).argmin()]
    return float(between[chosen][nearest]), float(scores[nearest])


def _flips(logits: Logits, clip: NDArray[np.int64], index: int) -> NDArray[np.float64]:
    """Return the offset at which each clip is first predicted as a class, shape (num_clips,), by bisection."""
    below = np.full(clip[-1] + 1, -_WIDEST)
    above = -below
    while (above - below).max() > _CLOSE:
        middle = (below + above) / 2
        taken = average_windows(_shifted(logits, index, middle[clip]), clip).argmax(axis=1) == index
        above, below = np.where(taken, middle, above), np.where(taken, below, middle)
    return above


def _shifted(logits: Logits, index: int, offset: NDArray[np.float64] | float) -> Logits:
    shifted = logits.astype(np.float64)
    shifted[:, index] += offset
    return shifted


def _score(logits: Logits, targets: NDArray[np.int64]) -> float:
    return _macro_f1(targets, logits.argmax(axis=1), logits.shape[1])


def _score_windows(logits: Logits, clip: NDArray[np.int64], targets: NDArray[np.int64]) -> float:
    return _score(average_windows(logits, clip), targets)


def _running(flags: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the counts of the first 0, 1, ... rows, shape (num_rows + 1, num_columns)."""
    return np.vstack([np.zeros((1, flags.shape[1]), np.int64), np.cumsum(flags, axis=0)])


def _macro_f1(targets: NDArray[np.int64], predicted: NDArray[np.int64], num_classes: int) -> float:
    """Compute the f1_macro of `summary_metrics`, a hundred times faster."""
    right = np.bincount(targets[targets == predicted], minlength=num_classes)
    present = np.bincount(targets, minlength=num_classes)
    found = np.bincount(predicted, minlength=num_classes)
    return float((2 * right / np.maximum(present + found, 1))[present > 0].mean())
