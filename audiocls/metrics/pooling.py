"""How the windows of a recording become one answer, as `Pooling` of the params names it.

A recording of a single window has the probabilities of that window, whatever the pooling.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from audiocls.batches import WindowAverager
from audiocls.params import EvaluationParams, Pooling

ATTENTION_SHARPNESS: Final = 4.0
"""Of `attention`: a window's weight falls by this power of e from a certain answer to one that says nothing."""

_LEAST: Final = 1e-12  # the logarithm of a class that no window votes for


def probabilities_of(logits: NDArray[np.float32], temperature: float = 1.0) -> NDArray[np.float64]:
    """Return the probabilities, shape (num_windows, num_classes), of logits of that shape."""
    scaled = torch.from_numpy(np.asarray(logits, np.float64)) / temperature
    probabilities: NDArray[np.float64] = torch.softmax(scaled, dim=1).numpy()
    return probabilities


def fixed_pooling(params: EvaluationParams) -> Pooling:
    """Return the pooling while it is not chosen yet: the one that the params fix, or else the mean."""
    return "mean" if params.pooling == "auto" else params.pooling


class Pooler:
    """Takes the probabilities of a recording's windows one by one, and keeps a few numbers a class."""

    def __init__(self, pooling: Pooling) -> None:
        """Pool in this way."""
        self._pooling = pooling
        self._joined: NDArray[np.float64] | None = None  # (num_classes,)
        self._only: NDArray[np.float64] | None = None  # the probabilities of the first window
        self.windows = 0

    def add(self, probabilities: NDArray[np.float64]) -> None:
        """Take a window's probabilities, shape (num_classes,)."""
        (counted,) = _counted(probabilities[None], self._pooling)
        if self._joined is None:
            self._joined, self._only = counted, probabilities
        else:
            self._joined = _JOIN[self._pooling](self._joined, counted)
        self.windows += 1

    def result(self) -> NDArray[np.float64]:
        """Return the recording's probabilities, shape (num_classes,); their sum is 1.

        Raises:
            ValueError: There was no window.
        """
        if self._joined is None or self._only is None:
            raise ValueError("no window was added")
        if self.windows == 1:
            return self._only
        pooled: NDArray[np.float64] = self._joined / self._joined.sum()
        return pooled


class WindowPooler:
    """Pools the windows of many recordings batch by batch, and keeps only what is complete of one."""

    def __init__(self, clip: NDArray[np.int64], pooling: Pooling = "mean") -> None:
        """Expect windows in the order of their clips.

        Args:
            clip: Clip of each window, ascending from 0 without gaps, shape (num_windows,).
            pooling: How they are pooled.
        """
        self._pooling = pooling
        # The mean of logits with a wide range is more precise as a sum of logarithms.
        self._averager = WindowAverager(clip) if pooling == "mean" else None
        self._clip = clip
        self._counts = np.bincount(clip)
        self._next = 0
        self._open = np.zeros((0, 0))  # what is joined of the incomplete clip, (0 or 1, classes)

    def add(self, logits: NDArray[Any]) -> NDArray[np.float32]:
        """Add the next windows; return the logits of the clips that they complete, shape (clips, classes), in order.

        They are the unchanged logits of clips with one window, and the log of the pooled probabilities of others.
        """
        if self._averager is not None:
            return self._averager.add(logits)
        clip = self._clip[self._next : self._next + len(logits)]
        self._next += len(logits)
        if not len(clip):
            return np.asarray(logits, np.float32)
        counted = _counted(probabilities_of(logits), self._pooling)
        held = len(self._open)
        if held:  # as an extra window, so that the result is the same for any batch boundaries
            counted, clip = np.vstack([self._open, counted]), np.append(clip[0], clip)
        first = np.flatnonzero(np.diff(clip, prepend=-1))
        joined = _JOIN[self._pooling].reduceat(counted, first, axis=0)
        is_open = self._next < len(self._clip) and self._clip[self._next] == clip[-1]
        self._open = joined[-1:] if is_open else joined[:0]
        whole = len(first) - is_open
        pooled = joined[:whole] / joined[:whole].sum(axis=1, keepdims=True)
        alone = np.asarray(logits)[first[:whole] - held]
        is_alone = self._counts[clip[first[:whole]]][:, None] == 1
        return np.where(is_alone, alone, np.log(np.maximum(pooled, _LEAST))).astype(np.float32)


_JOIN: Final[dict[Pooling, np.ufunc]] = {
    "mean": np.add,
    "max": np.maximum,
    "vote": np.add,
    "attention": np.add,
}
"""How what two windows count for becomes what both count for; the result is in proportion to it."""


def _counted(probabilities: NDArray[np.float64], pooling: Pooling) -> NDArray[np.float64]:
    """Return what each window counts for, shape (num_windows, num_classes)."""
    match pooling:
        case "mean" | "max":
            return probabilities
        case "vote":
            votes = np.zeros_like(probabilities)
            votes[np.arange(len(votes)), probabilities.argmax(axis=1)] = 1.0
            return votes
        case "attention":
            return _certainty(probabilities)[:, None] * probabilities


def _certainty(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weight of each window, (num_windows,): exp(-sharpness x entropy / largest entropy)."""
    logarithms = np.log(np.where(probabilities > 0, probabilities, 1.0))
    entropy = -(probabilities * logarithms).sum(axis=1) / max(np.log(probabilities.shape[1]), _LEAST)
    weights: NDArray[np.float64] = np.exp(-ATTENTION_SHARPNESS * entropy)
    return weights
