"""Clip scores, computed batch by batch from the logits of windows. The logits are not kept."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F
from transformers import EvalPrediction

from audiocls.batches import WindowAverager
from audiocls.metrics.classification import summary_metrics

CLIP_LOSS: Final = "clip_loss"
"""The validation loss over whole clips. Trainer's own loss is over windows."""


class ClipScores:
    """Keeps one predicted class and one loss per clip."""

    def __init__(self, clip: NDArray[np.int64], targets: NDArray[np.int64]) -> None:
        """Prepare to score windows in their order.

        Args:
            clip: Clip index of each window, ascending from 0 without gaps, shape (num_windows,).
            targets: The clips' class indices, shape (num_clips,).
        """
        self._averager = WindowAverager(clip)
        self._scored = 0
        self.targets = targets
        self.predicted = np.empty(len(targets), np.int64)
        self._losses = np.empty(len(targets), np.float32)

    def add(self, logits: NDArray[Any]) -> NDArray[np.float32]:
        """Add the logits of the next windows, (windows, classes); return those of the clips that are now complete."""
        averaged = self._averager.add(logits)
        part = slice(self._scored, self._scored + len(averaged))
        self._scored = part.stop
        self.predicted[part] = averaged.argmax(axis=1)
        targets = torch.tensor(self.targets[part])
        self._losses[part] = F.cross_entropy(torch.from_numpy(averaged), targets, reduction="none").numpy()
        return averaged

    def metrics(self) -> dict[str, float]:
        """Return the summary metrics and `loss`, the mean cross entropy."""
        loss = float(self._losses.mean(dtype=np.float64))
        return summary_metrics(self.targets, self.predicted) | {"loss": loss}


class ValidationScores:
    """`compute_metrics` for a Trainer with `batch_eval_metrics`, which calls it for every batch."""

    def __init__(self, clip: NDArray[np.int64], targets: NDArray[np.int64]) -> None:
        """Take the arguments of `ClipScores`."""
        self._of = (clip, targets)
        self._scores = ClipScores(*self._of)

    def __call__(self, prediction: EvalPrediction, compute_result: bool) -> dict[str, float]:
        """Add a batch's logits; after the last batch, return the metrics and reset."""
        logits = torch.as_tensor(prediction.predictions)
        self._scores.add(logits.float().cpu().numpy())
        if not compute_result:
            return {}
        metrics = self._scores.metrics()
        self._scores = ClipScores(*self._of)
        return {CLIP_LOSS if name == "loss" else name: value for name, value in metrics.items()}
