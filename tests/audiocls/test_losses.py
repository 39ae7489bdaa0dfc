from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from audiocls.balance_params import Focal, Ldam, LogitAdjusted, NoBalance, WeightedLoss
from audiocls.errors import BalanceError
from audiocls.losses import build_loss

COUNTS = {"a": 160, "b": 39, "c": 1}
LABELS = list(COUNTS)
WEIGHTS = {"a": 0.5, "b": 2.0, "c": 4.0}
SHARES = torch.tensor([0.8, 0.195, 0.005])
LDAM = Ldam(method="ldam", max_margin=2.0, defer_fraction=0.6)


@pytest.fixture(scope="module")
def batch():
    """(logits, targets), in which all classes stand."""
    return torch.randn(12, 3, generator=torch.Generator().manual_seed(3)) * 3, torch.arange(12) % 3


def loss_of(params, batch, weights=None, progress=0.0, smoothing=0.0):
    return build_loss(params, COUNTS, weights, LABELS, smoothing)(*batch, progress)


def test_gamma_0_tau_0_and_margin_0_are_the_cross_entropy(batch):
    plain = F.cross_entropy(*batch)
    for params in (
        NoBalance(),
        Focal(method="focal", gamma=0.0),
        LogitAdjusted(method="logit_adjusted", tau=0.0),
        Ldam(method="ldam", max_margin=0.0),
    ):
        torch.testing.assert_close(loss_of(params, batch, WEIGHTS if params.method == "ldam" else None), plain)


def test_focal_is_the_formula_of_the_paper_weighted_and_not(batch):
    logits, targets = batch
    true = logits.softmax(1)[torch.arange(12), targets]
    terms = -((1 - true) ** 2) * true.log()
    torch.testing.assert_close(loss_of(Focal(method="focal", gamma=2.0), batch), terms.mean())
    weighted = loss_of(Focal(method="focal", gamma=2.0, weighting="inverse_frequency"), batch, WEIGHTS)
    torch.testing.assert_close(weighted, (terms * torch.tensor([0.5, 2.0, 4.0])[targets]).mean())


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_stays_finite_where_the_model_is_certain_right_or_wrong(gamma):
    logits = torch.tensor([[200.0, -200.0], [-200.0, 200.0]], requires_grad=True)
    loss = build_loss(Focal(method="focal", gamma=gamma), {"a": 1, "b": 1}, None, ["a", "b"], 0.0)
    loss(logits, torch.tensor([0, 0]), 0.0).backward()
    assert torch.isfinite(logits.grad).all()
    assert logits.grad[1].abs().max() > 0.1


def test_logit_adjustment_trains_logits_that_favour_no_class(batch):
    """Where the clips tell nothing, what minimises it are equal logits, and not the logarithms of the shares."""
    logits, targets = torch.zeros(200, 3), torch.repeat_interleave(torch.arange(3), torch.tensor([160, 39, 1]))
    tilt = torch.zeros(3, requires_grad=True)
    loss_of(LogitAdjusted(method="logit_adjusted"), (logits + tilt, targets)).backward()
    torch.testing.assert_close(tilt.grad, torch.zeros(3), atol=1e-6, rtol=0)
    expected = F.cross_entropy(batch[0] + 0.5 * SHARES.log(), batch[1], label_smoothing=0.1)
    found = loss_of(LogitAdjusted(method="logit_adjusted", tau=0.5), batch, smoothing=0.1)
    torch.testing.assert_close(found, expected)


def test_the_margin_grows_with_the_fourth_root_of_rarity(batch):
    logits, targets = batch
    lowered = logits.clone()
    margins = torch.tensor([2 / 160**0.25, 2 / 39**0.25, 2.0])
    lowered[torch.arange(12), targets] -= margins[targets]
    torch.testing.assert_close(loss_of(LDAM, batch, WEIGHTS, progress=0.59), F.cross_entropy(lowered, targets))
    late = (F.cross_entropy(lowered, targets, reduction="none") * torch.tensor([0.5, 2.0, 4.0])[targets]).mean()
    torch.testing.assert_close(loss_of(LDAM, batch, WEIGHTS, progress=0.6), late)


def test_weights_are_never_put_off_to_after_the_end(batch):
    params = Ldam(method="ldam", max_margin=0.0, defer_fraction=1.0)
    torch.testing.assert_close(loss_of(params, batch, WEIGHTS, progress=1.0), F.cross_entropy(*batch))


@pytest.mark.parametrize(
    ("params", "weights"),
    [
        (NoBalance(), None),
        (WeightedLoss(method="weighted_loss"), WEIGHTS),
        (Focal(method="focal"), WEIGHTS),
        (LogitAdjusted(method="logit_adjusted"), None),
        (LDAM, WEIGHTS),
    ],
    ids=lambda value: getattr(value, "method", ""),
)
def test_the_mean_over_halves_of_a_batch_is_that_of_the_whole(params, weights, batch):
    """So that accumulated gradients are the whole batch's, whichever classes a part holds."""
    loss = build_loss(params, COUNTS, weights, LABELS, 0.0)
    halves = [loss(batch[0][part], batch[1][part], 0.9) for part in (slice(0, 6), slice(6, 12))]
    torch.testing.assert_close(sum(halves) / 2, loss(*batch, 0.9))


@pytest.mark.parametrize("params", [LogitAdjusted(method="logit_adjusted"), WeightedLoss(method="weighted_loss"), LDAM])
def test_a_class_that_training_lacks_is_named_where_its_share_counts(params):
    with pytest.raises(BalanceError, match="'d' have no training clips"):
        build_loss(params, COUNTS, WEIGHTS, [*LABELS, "d"], 0.0)
    assert build_loss(NoBalance(), COUNTS, None, [*LABELS, "d"], 0.0) is not None
