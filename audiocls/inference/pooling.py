"""How the windows of a recording become one answer."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from audiocls.models import InferenceSettings

ATTENTION_SHARPNESS: Final = 4.0
"""Of `attention`: a window's weight falls by this power of e from a certain answer to one that says nothing."""


def probabilities_of(logits: NDArray[np.float32], temperature: float) -> NDArray[np.float64]:
    """Return the probabilities, shape (num_windows, num_classes), of logits of that shape."""
    scaled = torch.from_numpy(np.asarray(logits, np.float64)) / temperature
    probabilities: NDArray[np.float64] = torch.softmax(scaled, dim=1).numpy()
    return probabilities


class Pooler:
    """Takes the probabilities of a recording's windows one by one, and keeps a few numbers a class."""

    def __init__(self, settings: InferenceSettings) -> None:
        """Pool as the settings say."""
        self._pooling = settings.pooling
        self._total = np.zeros(len(settings.labels))
        self._weight = 0.0
        self.windows = 0

    def add(self, probabilities: NDArray[np.float64]) -> None:
        """Take a window's probabilities, shape (num_classes,)."""
        self.windows += 1
        match self._pooling:
            case "max":
                self._total = np.maximum(self._total, probabilities)
                return
            case "vote":
                self._total[int(probabilities.argmax())] += 1.0
                weight = 1.0
            case "attention":
                weight = _certainty_weight(probabilities)
                self._total += weight * probabilities
            case "mean":
                weight = 1.0
                self._total += probabilities
        self._weight += weight

    def result(self) -> NDArray[np.float64]:
        """Return the recording's probabilities, shape (num_classes,); their sum is 1.

        Raises:
            ValueError: There was no window.
        """
        if not self.windows:
            raise ValueError("no window was added")
        total = self._total.sum() if self._pooling == "max" else self._weight
        pooled: NDArray[np.float64] = self._total / total
        return pooled


def _certainty_weight(probabilities: NDArray[np.float64]) -> float:
    """Return a window's weight: exp(-sharpness x entropy / largest entropy)."""
    positive = probabilities[probabilities > 0]
    entropy = float(-(positive * np.log(positive)).sum()) / max(np.log(len(probabilities)), 1e-12)
    return float(np.exp(-ATTENTION_SHARPNESS * entropy))
