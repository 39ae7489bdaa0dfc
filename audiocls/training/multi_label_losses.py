"""Losses of clips with any number of labels: each label is a question of its own.

Targets are 1 for the labels of a clip, 0 for the others, fractions in mixtures, and NaN for unknown labels, which have
no loss and no gradient. A loss is the sum over the known labels, divided by the number of clips and of classes.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from audiocls.errors import BalanceError, name_some
from audiocls.params import Asymmetric, BalanceParams, DistributionBalanced, Focal
from audiocls.training.losses import TrainingLoss


def binary_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the plain loss, the mean over the batch; logits and targets are (batch, num_classes)."""
    return _mean_of_known(F.binary_cross_entropy_with_logits(logits, _known(targets), reduction="none"), targets)


def _known(targets: Tensor) -> Tensor:
    return targets.nan_to_num(0.0)


def _mean_of_known(losses: Tensor, targets: Tensor) -> Tensor:
    return losses.masked_fill(targets.isnan(), 0.0).mean()


class _LabelLoss(TrainingLoss):
    """A loss that is the mean over clips and classes of what each label costs.

    The smoothed part of a target is not weighted, so that no weight makes an absent label the best answer or the
    other way round.
    """

    def forward(self, logits: Tensor, targets: Tensor, progress: float) -> Tensor:
        """Return the mean over the batch; logits and targets are (batch, num_classes)."""
        present, absent = self._costs(logits)
        true, half = _known(targets), self.label_smoothing / 2
        of_present = true * (present + half * (absent - present)) * self._present_weights(true)
        of_absent = (1 - true) * (absent + half * (present - absent)) * self._absent_weights(true)
        return _mean_of_known(of_present + of_absent, targets)

    @abstractmethod
    def _costs(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Return what each label costs if it is present and if it is absent, each (batch, num_classes)."""

    def _present_weights(self, targets: Tensor) -> Tensor | float:
        return 1.0 if self.weights is None else self.weights

    def _absent_weights(self, targets: Tensor) -> Tensor | float:
        return 1.0


class BinaryCrossEntropy(_LabelLoss):
    """Binary cross entropy; the class weights, if there are any, multiply the loss of present labels."""

    def _costs(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        return F.softplus(-logits), F.softplus(logits)


class BinaryFocalLoss(_LabelLoss):
    """`-(1 - p)^gamma * log p`, where p is the probability of the right answer for each label.

    Source:
        Lin et al. 2017, "Focal Loss for Dense Object Detection", arXiv:1708.02002, where it is introduced in this form.
    """

    def __init__(self, gamma: float, weights: Tensor | None) -> None:
        super().__init__(weights)
        self.gamma = gamma

    def _costs(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        return _reduced(logits, self.gamma), _reduced(-logits, self.gamma)


def _reduced(logits: Tensor, gamma: float) -> Tensor:
    """Return `-(1 - p)^gamma * log p` for p = sigmoid(logits)."""
    # sigmoid(-x) is 1 - p; above 0, as the gradient of 0^gamma is infinite for gamma < 1.
    doubt = torch.sigmoid(-logits).clamp(min=torch.finfo(logits.dtype).tiny)
    return -(doubt**gamma) * F.logsigmoid(logits)


class AsymmetricLoss(_LabelLoss):
    """Focal loss with one exponent for present and another for absent labels, whose probabilities are lowered.

    Source:
        Ridnik et al. 2021, "Asymmetric Loss For Multi-Label Classification", arXiv:2009.14119, equations 4 to 7.
    """

    def __init__(self, params: Asymmetric) -> None:
        super().__init__()
        self._params = params

    def _costs(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        lowered = (torch.sigmoid(logits) - self._params.clip).clamp(min=torch.finfo(logits.dtype).tiny)
        absent = -(lowered**self._params.gamma_absent) * torch.log1p(-lowered.clamp(max=1 - 1e-6))
        return _reduced(logits, self._params.gamma_present), absent


class DistributionBalancedLoss(_LabelLoss):
    """Binary cross entropy, weighted for label sets and tolerant of absent labels.

    A clip is drawn once for each of its labels if classes are drawn equally, so that a frequent label that occurs with
    rare ones is seen too often. Each label is weighted by the probability that it was meant, over the probability that
    the clip is seen.

    Source:
        Wu et al. 2020, "Distribution-Balanced Loss for Multi-Label Classification in Long-Tailed Datasets",
        arXiv:2007.09654, equations 3 to 10.
    """

    frequency: Tensor
    margins: Tensor

    def __init__(self, params: DistributionBalanced, counts: Tensor, num_clips: int, label_smoothing: float) -> None:
        super().__init__(None, label_smoothing)
        self._params = params
        frequency = (counts / num_clips).clamp(min=1e-6, max=1 - 1e-6)
        self.register_buffer("frequency", frequency)
        self.register_buffer("margins", params.kappa * torch.log(1 / frequency - 1))

    def _costs(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        shifted, scale = logits - self.margins, self._params.scale
        return F.softplus(-shifted), F.softplus(scale * shifted) / scale

    def _present_weights(self, targets: Tensor) -> Tensor:
        meant = 1 / self.frequency
        seen = (targets * meant).sum(dim=1, keepdim=True)
        # A clip without labels is seen through none of the classes; all its labels have the greatest weight.
        ratio = torch.where(seen > 0, meant / seen.clamp(min=1e-12), 1.0)
        return self._params.floor + torch.sigmoid(self._params.slope * (ratio - self._params.center))

    def _absent_weights(self, targets: Tensor) -> Tensor:
        return self._present_weights(targets)


def build_label_loss(
    params: BalanceParams,
    counts: dict[str, int],
    num_clips: int,
    weights: dict[str, float] | None,
    labels: Sequence[str],
    label_smoothing: float,
) -> TrainingLoss:
    """Build the loss of a balance method; plain binary cross entropy if the method does not change it.

    Args:
        params: The method.
        counts: Training clips with each label, before resampling.
        num_clips: All training clips.
        weights: Of present labels, from `class_weights`.
        labels: Class names; the position is the class index.
        label_smoothing: Each target is moved this far towards one half.

    Raises:
        BalanceError: The method needs the frequency of a label that no training clip has.
    """
    by_class = None if weights is None else torch.tensor([weights.get(name, 1.0) for name in labels])
    missing = [name for name in labels if name not in counts]
    if missing and (weights is not None or isinstance(params, DistributionBalanced)):
        raise BalanceError(
            f"balance.method = {params.method}: no training clip has {name_some(map(repr, missing))}, so their "
            "frequency is 0. Drop these labels from the data, or add training clips."
        )
    match params:
        case Focal():
            return BinaryFocalLoss(params.gamma, by_class)
        case Asymmetric():
            return AsymmetricLoss(params)
        case DistributionBalanced():
            frequency = torch.tensor([float(counts[name]) for name in labels])
            return DistributionBalancedLoss(params, frequency, num_clips, label_smoothing)
        case _:
            return BinaryCrossEntropy(by_class, label_smoothing)
