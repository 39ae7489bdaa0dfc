from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from torch.nn import functional as F

from audiocls.balance.weights import label_weights
from audiocls.errors import BalanceError
from audiocls.params import Asymmetric, DistributionBalanced, Focal, NoBalance, WeightedLoss
from audiocls.training.multi_label_losses import build_label_loss

COUNTS = {"a": 160, "b": 39, "c": 1}
LABELS = list(COUNTS)
METHODS = [
    NoBalance(),
    WeightedLoss(method="weighted_loss"),
    Focal(method="focal", gamma=2.0),
    Asymmetric(method="asymmetric"),
    DistributionBalanced(method="distribution_balanced"),
]


@pytest.fixture(scope="module")
def batch():
    """(logits, targets), with clips of no label, of one and of all."""
    targets = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1], [0, 0, 1]])
    return torch.randn(5, 3, generator=torch.Generator().manual_seed(3)) * 3, targets


def loss_of(params, batch, smoothing=0.0):
    weights = label_weights(COUNTS, 200, params)
    return build_label_loss(params, COUNTS, 200, weights, LABELS, smoothing)(*batch, 0.0)


def test_neutral_settings_are_the_binary_cross_entropy(batch):
    plain = F.binary_cross_entropy_with_logits(*batch)
    for params in (
        NoBalance(),
        Focal(method="focal", gamma=0.0),
        Asymmetric(method="asymmetric", gamma_absent=0.0, clip=0.0),
    ):
        torch.testing.assert_close(loss_of(params, batch), plain, rtol=1e-5, atol=1e-6)


def test_weights_are_absent_clips_per_present_clip(batch):
    expected = F.binary_cross_entropy_with_logits(*batch, pos_weight=torch.tensor([40 / 160, 161 / 39, 199.0]))
    torch.testing.assert_close(loss_of(WeightedLoss(method="weighted_loss"), batch), expected)


def test_asymmetric_is_the_formula_of_the_paper(batch):
    logits, targets = batch
    p = torch.sigmoid(logits)
    lowered = (p - 0.05).clamp(min=0)
    terms = -targets * (1 - p) * p.log() - (1 - targets) * lowered**4 * (1 - lowered).log()
    torch.testing.assert_close(loss_of(Asymmetric(method="asymmetric", gamma_present=1.0), batch), terms.mean())


def test_distribution_balanced_is_the_formula_of_the_paper(batch):
    logits, targets = batch
    share = torch.tensor([0.8, 0.195, 0.005])
    seen = (targets / share).sum(1, keepdim=True)
    ratio = torch.where(seen > 0, 1 / share / seen, torch.ones(()))
    weights = 0.1 + torch.sigmoid(10 * (ratio - 0.2))
    shifted = logits - 0.05 * torch.log(1 / share - 1)
    terms = weights * (targets * torch.log1p((-shifted).exp()) + (1 - targets) / 2 * torch.log1p((2 * shifted).exp()))
    torch.testing.assert_close(loss_of(DistributionBalanced(method="distribution_balanced"), batch), terms.mean())


@pytest.mark.parametrize("params", METHODS, ids=lambda params: params.method)
def test_unknown_labels_have_no_gradient_and_known_ones_keep_theirs(params, batch):
    logits = batch[0].clone().requires_grad_()
    targets = batch[1].clone()
    targets[1, 1] = targets[4, 0] = float("nan")
    loss_of(params, (logits, targets)).backward()
    assert torch.isfinite(logits.grad).all()
    assert logits.grad[targets.isnan()].abs().max() == 0
    whole = batch[0].clone().requires_grad_()
    loss_of(params, (whole, targets.nan_to_num(0.0))).backward()
    if not isinstance(params, DistributionBalanced):  # its weights depend on all labels of a clip
        known = ~targets.isnan()
        torch.testing.assert_close(logits.grad[known], whole.grad[known])


@pytest.mark.parametrize("params", METHODS, ids=lambda params: params.method)
def test_extreme_logits_give_finite_losses_and_gradients(params):
    logits = torch.tensor([[200.0, -200.0, 0.0], [-200.0, 200.0, 30.0]], requires_grad=True)
    loss_of(params, (logits, torch.tensor([[1.0, 0, 1], [1, 0, 0]]))).backward()
    assert torch.isfinite(logits.grad).all()
    # Certain, and wrong. A lowered probability of 1 has no gradient, by the paper: the label may be a mistake.
    wrong = logits.grad[1, :1] if isinstance(params, Asymmetric) else logits.grad[1, :2]
    assert wrong.abs().min() > 0.03


@pytest.mark.parametrize("params", [*METHODS[:2], METHODS[4]], ids=lambda params: params.method)
def test_a_smoothed_label_is_still_more_likely_present_where_it_is(params):
    def best(target):
        def cost(logit):
            logits = torch.full((1, 3), float(logit), dtype=torch.float64)
            return float(loss_of(params, (logits, torch.full((1, 3), target, dtype=torch.float64)), smoothing=0.1))

        return minimize_scalar(cost, bounds=(-20, 20), method="bounded").x

    assert best(1.0) > 0.5 > -0.5 > best(0.0)
    if isinstance(params, NoBalance | WeightedLoss):
        assert best(1.0) == pytest.approx(np.log(0.95 / 0.05), abs=1e-3)


def test_a_label_without_training_clips_cannot_be_weighted():
    with pytest.raises(BalanceError, match="no training clip has 'd'"):
        build_label_loss(DistributionBalanced(method="distribution_balanced"), COUNTS, 200, None, [*LABELS, "d"], 0.0)
