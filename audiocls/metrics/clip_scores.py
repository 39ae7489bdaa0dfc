"""Scores of clips and of their windows, computed batch by batch from the logits of windows. The logits are not kept."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F
from transformers import EvalPrediction

from audiocls.metrics.classification import summary_metrics
from audiocls.metrics.multi_label import multi_label_metrics
from audiocls.metrics.pooling import WindowPooler, probabilities_of
from audiocls.metrics.thresholds import DEFAULT_THRESHOLD
from audiocls.params import Pooling

CLIP_LOSS: Final = "clip_loss"
"""The validation loss over whole clips. Trainer's own loss is over windows."""

WINDOW: Final = "window"
"""The metrics of single windows, each with its clip's class, are `window/...`."""


class ClipScores:
    """Keeps one predicted class and one loss per clip, and one predicted class per window."""

    def __init__(self, clip: NDArray[np.int64], targets: NDArray[np.int64], pooling: Pooling = "mean") -> None:
        """Prepare to score windows in their order.

        Args:
            clip: Clip index of each window, ascending from 0 without gaps, shape (num_windows,).
            targets: The clips' class indices, shape (num_clips,).
            pooling: How the windows of a clip become one answer.
        """
        self._pooler = WindowPooler(clip, pooling)
        self._clip = clip
        self._scored = self._seen = 0
        self.targets = targets
        self.predicted = np.empty(len(targets), np.int64)
        self._of_windows = np.empty(len(clip), np.int64)
        self._losses = np.empty(len(targets), np.float32)

    def add(self, logits: NDArray[Any]) -> NDArray[np.float32]:
        """Add the logits of the next windows, (windows, classes); return those of the clips that are now complete."""
        pooled = self._pooler.add(logits)
        windows = slice(self._seen, self._seen + len(logits))
        self._seen = windows.stop
        self._of_windows[windows] = np.asarray(logits).argmax(axis=1)
        part = slice(self._scored, self._scored + len(pooled))
        self._scored = part.stop
        self.predicted[part] = pooled.argmax(axis=1)
        targets = torch.tensor(self.targets[part])
        self._losses[part] = F.cross_entropy(torch.from_numpy(pooled), targets, reduction="none").numpy()
        return pooled

    @property
    def losses(self) -> NDArray[np.float32]:
        """Cross entropy of each clip, (num_clips,)."""
        return self._losses

    def metrics(self) -> dict[str, float]:
        """Return the summary metrics, `loss`, the mean cross entropy, and those of windows if a clip has several."""
        loss = float(self._losses.mean(dtype=np.float64))
        found = summary_metrics(self.targets, self.predicted) | {"loss": loss}
        if len(self._clip) == len(self.targets):
            return found
        of_windows = summary_metrics(self.targets[self._clip], self._of_windows)
        return found | {f"{WINDOW}/{name}": value for name, value in of_windows.items()}


class LabelScores:
    """Keeps the probabilities of clips that may have any number of labels, and one loss per clip."""

    def __init__(self, clip: NDArray[np.int64], targets: NDArray[np.float32], pooling: Pooling = "mean") -> None:
        """Prepare to score windows in their order.

        Args:
            clip: Clip index of each window, ascending from 0 without gaps, shape (num_windows,).
            targets: 1, 0 or NaN (unknown), shape (num_clips, num_classes).
            pooling: How the windows of a clip become one answer.
        """
        self._pooler = WindowPooler(clip, pooling, multi_label=True)
        self._scored = 0
        self.targets = targets
        self.probabilities = np.empty(targets.shape, np.float32)
        self._losses = np.empty(len(targets), np.float32)

    def add(self, logits: NDArray[Any]) -> NDArray[np.float32]:
        """Add the logits of the next windows, (windows, classes); return those of the clips that are now complete."""
        pooled = self._pooler.add(logits)
        part = slice(self._scored, self._scored + len(pooled))
        self._scored = part.stop
        self.probabilities[part] = probabilities_of(pooled, multi_label=True)
        targets = torch.from_numpy(self.targets[part])
        losses = F.binary_cross_entropy_with_logits(torch.from_numpy(pooled), targets.nan_to_num(0), reduction="none")
        self._losses[part] = losses.masked_fill(targets.isnan(), 0).mean(dim=1).numpy()
        return pooled

    def metrics(self, thresholds: NDArray[np.float64] | None = None) -> dict[str, float]:
        """Return the metrics, and `loss`, the mean binary cross entropy.

        Args:
            thresholds: From which on a label is predicted, (num_classes,) or (num_clips, num_classes); None: one half.
        """
        used = np.full(self.targets.shape[1], DEFAULT_THRESHOLD) if thresholds is None else thresholds
        loss = float(self._losses.mean(dtype=np.float64))
        return multi_label_metrics(self.targets, self.probabilities, used) | {"loss": loss}


def scores_of(clip: NDArray[np.int64], targets: NDArray[Any], pooling: Pooling = "mean") -> ClipScores | LabelScores:
    """Return the scores of clips with one label, or with any number, by the shape of the targets."""
    return ClipScores(clip, targets, pooling) if targets.ndim == 1 else LabelScores(clip, targets, pooling)


class ValidationScores:
    """`compute_metrics` for a Trainer with `batch_eval_metrics`, which calls it for every batch."""

    def __init__(self, clip: NDArray[np.int64], targets: NDArray[Any], pooling: Pooling = "mean") -> None:
        """Take the arguments of `scores_of`."""
        self._clip, self._targets, self._pooling = clip, targets, pooling
        self._scores = self._begin()

    def _begin(self) -> ClipScores | LabelScores:
        return scores_of(self._clip, self._targets, self._pooling)

    def __call__(self, prediction: EvalPrediction, compute_result: bool) -> dict[str, float]:
        """Add a batch's logits; after the last batch, return the metrics and reset."""
        logits = torch.as_tensor(prediction.predictions)
        self._scores.add(logits.float().cpu().numpy())
        if not compute_result:
            return {}
        metrics = self._scores.metrics()
        self._scores = self._begin()
        return {CLIP_LOSS if name == "loss" else name: value for name, value in metrics.items()}
