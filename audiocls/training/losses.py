"""Training losses.

Each is a plain mean over the batch. When `ClassifierTrainer` accumulates gradients, it weights the batches by their
number of clips, so that the gradients equal those of one large batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiocls.errors import BalanceError, name_some
from audiocls.params import BalanceParams, Focal, Ldam, LogitAdjusted, NoBalance, Resampled


class TrainingLoss(nn.Module, ABC):
    """A loss of logits (batch, num_classes) and class indices (batch,)."""

    weights: Tensor | None

    def __init__(self, weights: Tensor | None = None, label_smoothing: float = 0.0) -> None:
        """Set the class weights, shape (num_classes,), mean 1 over the clips, and the label smoothing."""
        super().__init__()
        self.register_buffer("weights", weights)
        self.label_smoothing = label_smoothing

    @abstractmethod
    def forward(self, logits: Tensor, targets: Tensor, progress: float) -> Tensor:
        """Return the mean over the batch; `progress` is the fraction of the training steps done."""

    def _cross_entropies(
        self, logits: Tensor, targets: Tensor, *, weighted: bool = True, spread: Tensor | None = None
    ) -> Tensor:
        """Return the loss of each clip, (batch,): its smoothed cross entropy, weighted by its class.

        torch's `weight` would also weight the smoothed part by each class's weight, which makes a rare class the best
        prediction for a clear clip of a frequent class, and its mean divides by the weights in the batch. In a mixed
        clip, with a target of shape (num_classes,), each class's part has that class's weight.

        Args:
            logits: Shape (batch, num_classes).
            targets: Shape (batch,), or (batch, num_classes) for mixed clips.
            weighted: Whether to use the class weights.
            spread: Distribution of the smoothed part over the classes, (num_classes,), sum 1. None: uniform.
        """
        if spread is None and (self.weights is None or not weighted):
            return F.cross_entropy(logits, targets, label_smoothing=self.label_smoothing, reduction="none")
        log_probabilities = F.log_softmax(logits, dim=1)
        even = log_probabilities.mean(dim=1) if spread is None else log_probabilities @ spread
        costs = (self.label_smoothing - 1) * log_probabilities - self.label_smoothing * even[:, None]
        if self.weights is not None and weighted:
            costs = costs * self.weights
        return costs.gather(1, targets[:, None])[:, 0] if targets.ndim == 1 else (targets * costs).sum(dim=1)


class CrossEntropy(TrainingLoss):
    """Cross entropy, weighted by class if there are class weights."""

    def forward(self, logits: Tensor, targets: Tensor, progress: float) -> Tensor:
        """Return the mean over the batch."""
        return self._cross_entropies(logits, targets).mean()


class FocalLoss(TrainingLoss):
    """`-weight * (1 - p)^gamma * log p`, where p is the probability of the true class.

    Source:
        Lin et al. 2017, "Focal Loss for Dense Object Detection", arXiv:1708.02002.
    """

    def __init__(self, gamma: float, weights: Tensor | None) -> None:
        super().__init__(weights)
        self.gamma = gamma

    def forward(self, logits: Tensor, targets: Tensor, progress: float) -> Tensor:
        """Return the mean over the batch."""
        log_true = F.log_softmax(logits, dim=1).gather(1, targets[:, None]).squeeze(1)
        # expm1 keeps 1 - p exact near 1, and above 0: the gradient of 0^gamma is infinite for gamma < 1.
        doubt = (-torch.expm1(log_true)).clamp(min=torch.finfo(logits.dtype).tiny)
        return (doubt**self.gamma * self._cross_entropies(logits, targets)).mean()


class LogitAdjustedLoss(TrainingLoss):
    """Cross entropy of `logits + tau * log(class frequency)`.

    Label smoothing is distributed by `frequency^tau`, so that it is uniform for the unshifted logits of the model. A
    uniform distribution here would make the rarest class the best prediction for a clear clip.

    Source:
        Menon et al. 2021, "Long-Tail Learning via Logit Adjustment", arXiv:2007.07314, equation 10.
    """

    shift: Tensor

    def __init__(self, tau: float, counts: Tensor, label_smoothing: float) -> None:
        super().__init__(None, label_smoothing)
        self.register_buffer("shift", tau * torch.log(counts / counts.sum()))

    def forward(self, logits: Tensor, targets: Tensor, progress: float) -> Tensor:
        """Return the mean over the batch."""
        spread = self.shift.softmax(dim=0) if self.label_smoothing else None
        return self._cross_entropies(logits + self.shift, targets, spread=spread).mean()


class LdamLoss(TrainingLoss):
    """Cross entropy with the true class's logit lowered by its margin, `max_margin * (rarest / count)^(1/4)`.

    The paper normalizes the inputs and the weights of the head, and scales their cosines by 30. The saved head is an
    ordinary linear layer, so here the margin is in units of the logits. The weights apply once `progress` reaches
    `defer_fraction` (deferred re-weighting).

    Source:
        Cao et al. 2019, "Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss", arXiv:1906.07413.
    """

    margins: Tensor

    def __init__(self, max_margin: float, counts: Tensor, weights: Tensor, defer_fraction: float) -> None:
        super().__init__(weights)
        self.register_buffer("margins", max_margin * (counts.min() / counts) ** 0.25)
        self.defer_fraction = defer_fraction

    def forward(self, logits: Tensor, targets: Tensor, progress: float) -> Tensor:
        """Return the mean over the batch."""
        lowered = logits - F.one_hot(targets, logits.shape[1]) * self.margins
        weighted = progress >= self.defer_fraction and self.defer_fraction < 1
        return self._cross_entropies(lowered, targets, weighted=weighted).mean()


def build_loss(
    params: BalanceParams,
    counts: dict[str, int],
    weights: dict[str, float] | None,
    labels: Sequence[str],
    label_smoothing: float,
) -> TrainingLoss:
    """Build the loss of a balance method; plain cross entropy if the method does not change it.

    Args:
        params: The method.
        counts: Training clips per class, before resampling.
        weights: Class weights, from `class_weights`.
        labels: Class names; the position is the class index.
        label_smoothing: Fraction of the target that is distributed over all classes.

    Raises:
        BalanceError: The method needs the frequency of a class without training clips.
    """
    by_class = None if weights is None else torch.tensor([weights.get(name, 0.0) for name in labels])
    clips = torch.tensor([float(counts.get(name, 0)) for name in labels])
    missing = [name for name in labels if name not in counts]
    if missing and not isinstance(params, NoBalance | Resampled):
        raise BalanceError(
            f"balance.method = {params.method}: {name_some(map(repr, missing))} have no training clips, so their "
            "frequency is 0. Drop these classes from the data, or add training clips."
        )
    match params:
        case Focal():
            return FocalLoss(params.gamma, by_class)
        case LogitAdjusted():
            return LogitAdjustedLoss(params.tau, clips, label_smoothing)
        case Ldam() if by_class is not None:
            return LdamLoss(params.max_margin, clips, by_class, params.defer_fraction)
        case _:
            return CrossEntropy(by_class, label_smoothing)
