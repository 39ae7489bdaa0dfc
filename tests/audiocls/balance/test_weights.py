from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from audiocls.balance.weights import class_weights, effective_number_weights, inverse_frequency_weights
from audiocls.errors import BalanceError
from audiocls.params.balance import WeightedLoss

counts_of_classes = st.lists(st.integers(1, 10_000), min_size=2, max_size=30).map(np.array)
untimed = settings(deadline=None)


def test_inverse_frequency_makes_every_class_weigh_the_same_in_all():
    weights = inverse_frequency_weights(np.array([90, 9, 1]))
    np.testing.assert_allclose(weights * [90, 9, 1], 100 / 3)


@given(counts=counts_of_classes, beta=st.floats(0, 1, exclude_max=True))
@untimed
def test_every_beta_gives_finite_weights_of_mean_one_that_never_favour_a_larger_class(counts, beta):
    weights = effective_number_weights(counts, beta)
    assert np.isfinite(weights).all()
    assert (weights > 0).all()
    assert (weights * counts).sum() / counts.sum() == pytest.approx(1)
    assert (np.diff(weights[np.argsort(-counts)]) >= -1e-9 * weights.max()).all()


@given(counts=counts_of_classes)
@untimed
def test_beta_0_weighs_all_classes_alike(counts):
    np.testing.assert_allclose(effective_number_weights(counts, 0.0), 1)


@given(counts=counts_of_classes)
@untimed
@pytest.mark.parametrize(("beta", "tolerance"), [(1 - 1e-9, 1e-4), (1 - 1e-15, 1e-4), (np.nextafter(1, 0), 1e-4)])
def test_beta_near_1_approaches_inverse_frequency(counts, beta, tolerance):
    np.testing.assert_allclose(
        effective_number_weights(counts, beta), inverse_frequency_weights(counts), rtol=tolerance
    )


def test_the_effective_number_of_a_case_worked_out_by_hand():
    # Effective numbers of 1 and 2 clips at beta 1/2: 1 and 3/2.
    weights = effective_number_weights(np.array([1, 2]), 0.5)
    assert weights[0] / weights[1] == pytest.approx(1.5)


def test_a_loss_is_weighted_as_the_params_say():
    counts = {"a": 1_000, "b": 10}
    plain, effective, sharper = (
        class_weights(counts, WeightedLoss(method="weighted_loss", weighting=weighting, beta=beta))
        for weighting, beta in [("inverse_frequency", None), ("effective_number", None), ("effective_number", 0.9)]
    )
    assert plain["b"] / plain["a"] == pytest.approx(100)
    assert effective["b"] / effective["a"] == pytest.approx((1 - 0.999**1_000) / (1 - 0.999**10))
    assert sharper["b"] / sharper["a"] == pytest.approx((1 - 0.9**1_000) / (1 - 0.9**10))


@pytest.mark.parametrize("weigh", [inverse_frequency_weights, lambda counts: effective_number_weights(counts, 0.9)])
def test_a_class_without_clips_cannot_be_weighted(weigh):
    with pytest.raises(BalanceError, match=r"classes \[1, 3\] have no training clips"):
        weigh(np.array([5, 0, 2, 0]))
