from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize, root
from torch.nn import functional as F

from audiocls.balance.weights import class_weights
from audiocls.errors import BalanceError
from audiocls.params.balance import Focal, Ldam, LogitAdjusted, NoBalance, WeightedLoss
from audiocls.training.losses import build_loss

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
    expected = F.cross_entropy(batch[0] + 0.5 * SHARES.log(), batch[1])
    found = loss_of(LogitAdjusted(method="logit_adjusted", tau=0.5), batch)
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


# What each loss asks for. A free logit a class is fitted by gradient descent to clips that tell nothing but how often
# they are of each class, and must come out as the closed form says.

POSTERIOR = torch.tensor([0.7, 0.25, 0.05])
BY_CLASS = torch.tensor(list(WEIGHTS.values()))


def optimum(loss, targets, progress=0.0):
    """The probabilities that minimise the loss over clips whose inputs are all alike."""
    tilt = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    ends = {"max_iter": 500, "tolerance_grad": 1e-10, "tolerance_change": 1e-14}
    solver = torch.optim.LBFGS([tilt], line_search_fn="strong_wolfe", **ends)

    def closure():
        solver.zero_grad()
        value = loss.double()(tilt.expand(len(targets), 3), targets, progress)
        value.backward()
        return value

    solver.step(closure)
    return tilt.detach().softmax(0)


def smoothed(posterior, smoothing):
    return (1 - smoothing) * posterior + smoothing / 3


def weighted_by(posterior, weights):
    return posterior * weights / (posterior * weights).sum()


@pytest.mark.parametrize("soft", [False, True], ids=["one class a clip", "mixed clips"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.6])
@pytest.mark.parametrize(
    ("params", "weights", "shift"),
    [
        (NoBalance(), None, 0.0),
        (WeightedLoss(method="weighted_loss"), WEIGHTS, 0.0),
        (WeightedLoss(method="weighted_loss", weighting="effective_number"), WEIGHTS, 0.0),
        (LogitAdjusted(method="logit_adjusted"), None, 1.0),
        (LogitAdjusted(method="logit_adjusted", tau=0.5), None, 0.5),
    ],
    ids=["none", "inverse_frequency", "effective_number", "logit_adjusted", "half adjusted"],
)  # fmt: skip
def test_the_best_answer_is_the_weighted_then_smoothed_posterior_less_the_shift(
    params, weights, shift, smoothing, soft
):
    targets = torch.repeat_interleave(torch.arange(3), torch.tensor([140, 50, 10]))
    if soft:
        targets = (0.6 * F.one_hot(targets, 3) + 0.4 * F.one_hot(targets.flip(0), 3)).double()
        posterior = targets.mean(0)
    else:
        posterior = POSTERIOR.double()
    if weights is not None:
        posterior = weighted_by(posterior, BY_CLASS)
    adjusted = weighted_by(posterior, SHARES.double() ** -shift)
    # The smoothing stays even in the logits that are kept; how large it is there depends on the clip.
    kept = (posterior * SHARES.double() ** -shift).sum() * (SHARES.double() ** shift).sum() * (1 - smoothing)
    expected = (kept * adjusted + smoothing) / (kept + 3 * smoothing)
    found = optimum(build_loss(params, COUNTS, weights, LABELS, smoothing), targets)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("label", range(3))
@pytest.mark.parametrize(
    "params",
    [
        WeightedLoss(method="weighted_loss"),
        WeightedLoss(method="weighted_loss", weighting="effective_number"),
        LogitAdjusted(method="logit_adjusted"),
    ],
    ids=["inverse_frequency", "effective_number", "logit_adjusted"],
)
def test_a_certain_clip_is_given_its_own_class_whatever_the_weights_and_the_smoothing(params, label):
    """At 100 : 1 the smoothed part made the rarest class the best answer for all."""
    counts = {"a": 1000, "b": 100, "c": 10}
    found = optimum(build_loss(params, counts, class_weights(counts, params), LABELS, 0.1), torch.full((8,), label))
    assert found.argmax() == label
    others = found[torch.arange(3) != label]
    torch.testing.assert_close(others, others.mean().expand(2), atol=1e-4, rtol=0)


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_the_best_answer_of_focal_is_that_of_a_search_over_all_probabilities(gamma, weights):
    """It has no closed form: the modulated logarithms are searched on the simplex, without the loss."""
    weighting = None if weights is None else "inverse_frequency"
    targets = torch.repeat_interleave(torch.arange(3), torch.tensor([140, 50, 10]))
    loss = build_loss(Focal(method="focal", gamma=gamma, weighting=weighting), COUNTS, weights, LABELS, 0.0)
    found = optimum(loss, targets)
    part = POSTERIOR.numpy() * (1 if weights is None else BY_CLASS.numpy())

    def expected_loss(first):
        p = np.clip([*first, 1 - sum(first)], 1e-9, 1 - 1e-9)
        return -(part * (1 - p) ** gamma * np.log(p)).sum()

    best = minimize(expected_loss, [0.4, 0.3], method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-12}).x
    np.testing.assert_allclose(found.numpy(), [*best, 1 - best.sum()], atol=1e-4)


@pytest.mark.parametrize(("progress", "weights"), [(0.0, torch.ones(3)), (0.6, BY_CLASS)], ids=["early", "deferred"])
def test_the_best_answer_of_ldam_has_each_class_sure_by_its_margin(progress, weights):
    """Where all clips are of one input, the stationary point is solved for, each class's clips with its own margin."""
    targets = torch.repeat_interleave(torch.arange(3), torch.tensor([140, 50, 10]))
    found = optimum(build_loss(LDAM, COUNTS, WEIGHTS, LABELS, 0.0), targets, progress).numpy()
    margins = 2.0 * (1 / np.array(list(COUNTS.values()))) ** 0.25
    part = POSTERIOR.numpy() * weights.numpy()

    def slope(free):
        logits = np.array([0.0, *free])
        lowered = np.exp(logits - np.diag(margins))  # row k: of a clip of class k
        taken = lowered / lowered.sum(axis=1, keepdims=True)
        return (part @ (taken - np.eye(3)))[1:]

    logits = np.array([0.0, *root(slope, [0.0, 0.0]).x])
    np.testing.assert_allclose(found, np.exp(logits) / np.exp(logits).sum(), atol=1e-4)
