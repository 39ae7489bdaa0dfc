"""Scores of clips, made batch by batch out of the logits of their windows, of which none are kept."""

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
"""The validation metric that takes the place of the loss: of whole clips, where Trainer's is of their windows."""


class ClipScores:
    """Keeps a class and a loss a clip, whatever the number of windows and of classes."""

    def __init__(self, clip: NDArray[np.int64], targets: NDArray[np.int64]) -> None:
        """Expect the windows in their order.

        Args:
            clip: Of which clip each window is, ascending from 0 without gaps, shape (num_windows,).
            targets: The clips' class indices, shape (num_clips,).
        """
        self._averager = WindowAverager(clip)
        self._scored = 0
        self.targets = targets
        self.predicted = np.empty(len(targets), np.int64)
        self._losses = np.empty(len(targets), np.float32)

    def add(self, logits: NDArray[Any]) -> NDArray[np.float32]:
        """Take the next windows' logits, (windows, classes); return those of the clips that are complete with them."""
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
    """What Trainer's `compute_metrics` is where it is called for every batch: `batch_eval_metrics`."""

    def __init__(self, clip: NDArray[np.int64], targets: NDArray[np.int64]) -> None:
        """Take what `ClipScores` does."""
        self._of = (clip, targets)
        self._scores = ClipScores(*self._of)

    def __call__(self, prediction: EvalPrediction, compute_result: bool) -> dict[str, float]:
        """Take a batch's logits; after the last one, return the metrics, and begin anew."""
        logits = torch.as_tensor(prediction.predictions)
        self._scores.add(logits.float().cpu().numpy())
        if not compute_result:
            return {}
        metrics = self._scores.metrics()
        self._scores = ClipScores(*self._of)
        return {CLIP_LOSS if name == "loss" else name: value for name, value in metrics.items()}
