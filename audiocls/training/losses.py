"""The losses of training.

Each is a plain mean over the batch. Where `ClassifierTrainer` accumulates the gradients of several batches, it weighs
them by their clips, so that the gradients are those of one batch with all of them.
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
        """Take class weights of shape (num_classes,), whose mean over the clips is one, and the smoothing."""
        super().__init__()
        self.register_buffer("weights", weights)
        self.label_smoothing = label_smoothing

    @abstractmethod
    def forward(self, logits: Tensor, targets: Tensor, progress: float) -> Tensor:
        """Return the mean over the batch; `progress` is the share of the training's steps that are done."""

    def _cross_entropies(
        self, logits: Tensor, targets: Tensor, *, weighted: bool = True, spread: Tensor | None = None
    ) -> Tensor:
        """Return each clip's, (batch,): the weight of its class times its smoothed cross entropy.

        torch's own `weight` would also weight the smoothed part by each class's weight, so that the best answer for a
        certain clip of a frequent class is a rare one; and its mean would divide by the weights that a batch happens to
        have. Of a mixed clip, whose target is (num_classes,), each class's part has that class's weight.

        Args:
            logits: Shape (batch, num_classes).
            targets: Shape (batch,), or of mixed clips (batch, num_classes).
            weighted: Whether the class weights count.
            spread: How the smoothed part is spread over the classes, (num_classes,), sum 1. None: evenly.
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
    """The cross entropy, weighted by class where there are weights."""

    def forward(self, logits: Tensor, targets: Tensor, progress: float) -> Tensor:
        """Return the mean over the batch."""
        return self._cross_entropies(logits, targets).mean()


class FocalLoss(TrainingLoss):
    """`-weight * (1 - p)^gamma * log p`, p being the probability of the true class.

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
    """The cross entropy of `logits + tau * log(share of the class)`.

    Label smoothing is spread by `share^tau` instead of evenly, so that it is even in the logits that the model keeps:
    an even one would be divided by the shares there, and the best answer for a certain clip would be the rarest class.

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
    """The cross entropy after the true class's logit is lowered by its margin, `max_margin * (rarest / count)^(1/4)`.

    The paper has the head's inputs and weights normalised and scales their cosines by 30; an ordinary head, which is
    what is saved, has no such layer. Here the margin is in units of plain logits instead. The weights come in once
    `progress` has reached `defer_fraction` (deferred re-weighting).

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
    """Build the loss of a balance method; where it changes none, the plain cross entropy.

    Args:
        params: The method.
        counts: Training clips per class, before anything is drawn.
        weights: Of the classes, from `class_weights`.
        labels: Class names; the position is the class index.
        label_smoothing: Share of the target that is spread over all classes.

    Raises:
        BalanceError: The method needs the share of a class that has no training clips.
    """
    by_class = None if weights is None else torch.tensor([weights.get(name, 0.0) for name in labels])
    clips = torch.tensor([float(counts.get(name, 0)) for name in labels])
    missing = [name for name in labels if name not in counts]
    if missing and not isinstance(params, NoBalance | Resampled):
        raise BalanceError(
            f"balance.method = {params.method}: {name_some(map(repr, missing))} have no training clips, so that their "
            "share is 0. Leave these classes out of the data, or give them clips to train on."
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
