"""Scores of clips and of their windows, computed batch by batch from the logits of windows. The logits are not kept."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F
from transformers import EvalPrediction

from audiocls.metrics.classification import summary_metrics
from audiocls.metrics.pooling import WindowPooler
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

    def metrics(self) -> dict[str, float]:
        """Return the summary metrics, `loss`, the mean cross entropy, and those of windows if a clip has several."""
        loss = float(self._losses.mean(dtype=np.float64))
        found = summary_metrics(self.targets, self.predicted) | {"loss": loss}
        if len(self._clip) == len(self.targets):
            return found
        of_windows = summary_metrics(self.targets[self._clip], self._of_windows)
        return found | {f"{WINDOW}/{name}": value for name, value in of_windows.items()}


class ValidationScores:
    """`compute_metrics` for a Trainer with `batch_eval_metrics`, which calls it for every batch."""

    def __init__(self, clip: NDArray[np.int64], targets: NDArray[np.int64], pooling: Pooling = "mean") -> None:
        """Take the arguments of `ClipScores`."""
        self._clip, self._targets, self._pooling = clip, targets, pooling
        self._scores = self._begin()

    def _begin(self) -> ClipScores:
        return ClipScores(self._clip, self._targets, self._pooling)

    def __call__(self, prediction: EvalPrediction, compute_result: bool) -> dict[str, float]:
        """Add a batch's logits; after the last batch, return the metrics and reset."""
        logits = torch.as_tensor(prediction.predictions)
        self._scores.add(logits.float().cpu().numpy())
        if not compute_result:
            return {}
        metrics = self._scores.metrics()
        self._scores = self._begin()
        return {CLIP_LOSS if name == "loss" else name: value for name, value in metrics.items()}
