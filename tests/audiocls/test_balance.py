from __future__ import annotations

from typing import get_args

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiocls.balance import (
    BalanceParams,
    balance,
    check_training_only,
    class_weights,
    effective_number_weights,
    inverse_frequency_weights,
)
from audiocls.errors import BalanceError, LeakageError
from audiocls.params import NoBalance, Oversample, RunParams, Undersample, WeightedLoss

# Of class_counts in training, what each method shows the model of them.
COUNTS = {"a": 60, "b": 12, "c": 3}
METHODS = get_args(RunParams.model_fields["balance"].annotation)
COUNTS_AFTER = {
    NoBalance: COUNTS,
    Oversample: dict.fromkeys(COUNTS, 60),
    Undersample: dict.fromkeys(COUNTS, 3),
    WeightedLoss: COUNTS,
}
WEIGHS = {NoBalance: False, Oversample: False, Undersample: False, WeightedLoss: True}
KEEPS_ALL = {NoBalance: True, Oversample: True, Undersample: False, WeightedLoss: True}

counts_of_classes = st.lists(st.integers(1, 10_000), min_size=2, max_size=30).map(np.array)
untimed = settings(deadline=None)


def params_of(method):
    """The defaults of a method."""
    return method(method=get_args(method.model_fields["method"].annotation)[0])


@pytest.fixture(params=METHODS, ids=lambda method: method.__name__)
def method(request):
    return request.param


@pytest.fixture
def split_clips(tmp_path):
    """Training clips between those of validation and test, which have classes of other sizes."""
    rows = [(label, "train") for label, count in COUNTS.items() for _ in range(count)]
    rows += [(label, name) for label in COUNTS for name in ("validation", "test") for _ in range(20)]
    table = pd.DataFrame(rows, columns=["label", "split"]).sample(frac=1, random_state=5, ignore_index=True)
    table.insert(0, "clip_id", [f"{i}.wav" for i in range(len(table))])
    path = tmp_path / "splits" / "made.parquet"
    path.parent.mkdir()
    table.to_parquet(path)
    return path


def rows_of(balanced):
    return pd.read_parquet(balanced.rows)["row"].to_numpy()


# The contract of every method


def test_every_method_that_params_know_is_tested():
    assert len(METHODS) >= 4
    assert set(METHODS) == set(get_args(BalanceParams)) == set(COUNTS_AFTER) == set(WEIGHS) == set(KEEPS_ALL)


def test_only_training_clips_are_trained_on(method, split_clips, tmp_path):
    rows = rows_of(balance(split_clips, params_of(method), 1, tmp_path))
    assert len(rows) > 0
    assert set(pd.read_parquet(split_clips)["split"].iloc[rows]) == {"train"}


def test_counts_are_those_of_the_rows_and_as_the_method_says(method, split_clips, tmp_path):
    balanced = balance(split_clips, params_of(method), 1, tmp_path)
    seen = pd.read_parquet(split_clips)["label"].iloc[rows_of(balanced)].value_counts().to_dict()
    assert balanced.counts_before == COUNTS
    assert balanced.counts_after == seen == COUNTS_AFTER[method]


def test_all_training_clips_are_kept_once_first_and_in_order_but_for_what_is_left_out(method, split_clips, tmp_path):
    rows = rows_of(balance(split_clips, params_of(method), 1, tmp_path))
    training = np.flatnonzero(pd.read_parquet(split_clips)["split"] == "train")
    if KEEPS_ALL[method]:
        np.testing.assert_array_equal(rows[: len(training)], training)
    else:
        assert len(set(rows)) == len(rows)


def test_a_seed_gives_the_same_rows_again(method, split_clips, tmp_path):
    first, again = (rows_of(balance(split_clips, params_of(method), 1, tmp_path / name)) for name in "ab")
    np.testing.assert_array_equal(first, again)


def test_weights_are_finite_positive_and_one_on_average_over_the_clips(method, split_clips, tmp_path):
    weights = balance(split_clips, params_of(method), 1, tmp_path).class_weights
    assert (weights is not None) == WEIGHS[method]
    if weights is not None:
        assert list(weights) == list(COUNTS)
        assert all(0 < weight < np.inf for weight in weights.values())
        mean = sum(weights[label] * count for label, count in COUNTS.items()) / sum(COUNTS.values())
        assert mean == pytest.approx(1)


@pytest.mark.parametrize("method", [Oversample, Undersample])
def test_another_seed_draws_other_clips(method, split_clips, tmp_path):
    drawn = {tuple(rows_of(balance(split_clips, params_of(method), seed, tmp_path))) for seed in range(4)}
    assert len(drawn) == 4


@pytest.mark.parametrize("method", [Oversample, Undersample])
def test_one_class_cannot_be_resampled(method, tmp_path):
    path = tmp_path / "one.parquet"
    pd.DataFrame({"clip_id": ["1", "2"], "label": ["a", "a"], "split": ["train", "train"]}).to_parquet(path)
    with pytest.raises(BalanceError, match="'a'"):
        balance(path, params_of(method), 1, tmp_path)


# Weights


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


# The check


@pytest.mark.parametrize("leaked", ["validation", "test"])
def test_a_held_out_clip_among_the_rows_stops_the_run_and_is_named(split_clips, leaked):
    table = pd.read_parquet(split_clips)
    training, held_out = (np.flatnonzero(table["split"] == name) for name in ("train", leaked))
    check_training_only(table, training)
    with pytest.raises(LeakageError, match=rf"^2 rows .*: {held_out[3]}\.wav, {held_out[4]}\.wav\.$"):
        check_training_only(table, np.append(training, held_out[3:5]))
