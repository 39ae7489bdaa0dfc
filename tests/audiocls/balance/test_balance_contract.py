"""The contract of every balance method, over any distribution of the classes."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st
from imblearn.under_sampling import EditedNearestNeighbours, TomekLinks

from audiocls.balance.draws import EpochSampler, class_counts, draw, wanted_counts
from audiocls.balance.synthetic import balance_embeddings
from audiocls.balance.weights import class_weights
from audiocls.errors import BalanceError
from audiocls.heads.linear import LinearHead
from audiocls.heads.offsets import adjusted, fit_offsets, tau_normalised
from audiocls.params.balance import (
    AfterTraining,
    AnyLoss,
    BalanceParams,
    HeadOnly,
    MultiLabelLoss,
    NoBalance,
    Resampled,
    SyntheticParams,
)
from audiocls.training.losses import build_loss

METHODS = {
    tag: method for method in get_args(BalanceParams) for tag in get_args(method.model_fields["method"].annotation)
}
RESAMPLINGS = ("oversample", "undersample", "smote", "borderline_smote", "adasyn", "smote_tomek", "smote_enn")
DRAWN = [tag for tag, method in METHODS.items() if method in get_args(Resampled)]
LOSSES = [tag for tag, method in METHODS.items() if method in get_args(AnyLoss)]

counts_of_classes = st.lists(st.integers(1, 60), min_size=2, max_size=8).map(
    lambda counts: {f"class {i}": count for i, count in enumerate(counts)}
)
quickly = settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.too_slow])
seeds = st.integers(0, 2**32 - 1)


def labels_of(counts, seed=0):
    labels = np.repeat(list(counts), list(counts.values()))
    return np.random.default_rng(seed).permutation(labels)


def test_every_method_belongs_to_one_kind_and_so_to_a_test_below():
    kinds = [
        (NoBalance,), get_args(Resampled), get_args(AnyLoss), get_args(MultiLabelLoss), get_args(HeadOnly),
        get_args(AfterTraining),
    ]  # fmt: skip
    assert sorted(m.__name__ for kind in kinds for m in kind) == sorted(m.__name__ for m in get_args(BalanceParams))
    assert len(METHODS) == 20
    annotated = {*get_args(METHODS["decoupled"].model_fields["resampling"].annotation)}
    named = {tag for part in annotated for tag in (get_args(part) or (part,))}
    assert named == set(RESAMPLINGS)
    assert named >= {tag for tag, method in METHODS.items() if method.__name__ == "EmbeddingBalance"}


def test_one_run_has_one_method_so_that_no_two_can_be_stacked():
    """Copies together with a weighted loss would count the rare classes twice; the params have no room for it."""
    from audiocls.params.run import RunParams

    assert RunParams.model_fields["balance"].discriminator == "method"
    for first in DRAWN:
        for extra in ("weighting", "gamma", "tau", "max_margin"):
            with pytest.raises(ValueError, match="Extra inputs are not permitted"):
                RunParams.model_validate({"data": {"source": "sample"}, "balance": {"method": first, extra: 1.0}})


@pytest.mark.parametrize("tag", DRAWN)
@given(counts=counts_of_classes, seed=seeds, epoch=st.integers(0, 4))
@quickly
def test_an_epoch_has_the_counts_asked_for_and_of_clips_that_are_there(tag, counts, seed, epoch):
    params, labels = METHODS[tag](method=tag), labels_of(counts)
    sampler = EpochSampler(labels, params, seed, epochs=5.0, max_clips=None)
    sampler.set_epoch(epoch)
    drawn = np.array(list(sampler)) % len(labels)  # of copies, which clips they are of
    wanted = wanted_counts(counts, params, epoch / 4)
    assert len(drawn) == len(sampler) == sum(wanted.values())
    assert class_counts(labels[drawn]) == wanted
    seen = np.bincount(drawn, minlength=len(labels))
    if tag == "oversample":
        assert seen.min() >= 1
        assert set(wanted.values()) == {max(counts.values())}
    if tag == "undersample":
        assert seen.max() == 1
        assert set(wanted.values()) == {min(counts.values())}
    if tag in ("square_root", "progressive"):
        assert sum(wanted.values()) == len(labels)
        rarest, commonest = min(counts, key=counts.get), max(counts, key=counts.get)
        assert wanted[rarest] <= wanted[commonest] + 1  # never more than turned round by rounding


@pytest.mark.parametrize("tag", LOSSES)
@given(counts=counts_of_classes, seed=seeds, progress=st.floats(0, 1))
@quickly
def test_a_loss_is_finite_as_are_its_gradients_and_weights_average_to_one(tag, counts, seed, progress):
    params = METHODS[tag](method=tag)
    weights = class_weights(counts, params)
    if weights is not None:
        assert sum(weights[name] * n for name, n in counts.items()) / sum(counts.values()) == pytest.approx(1)
    loss = build_loss(params, counts, weights, list(counts), 0.0)
    generator = torch.Generator().manual_seed(seed)
    logits = (30 * torch.randn(16, len(counts), generator=generator)).requires_grad_()
    value = loss(logits, torch.randint(len(counts), (16,), generator=generator), progress)
    value.backward()
    assert torch.isfinite(value)
    assert value >= 0
    assert torch.isfinite(logits.grad).all()


CLEANERS = {
    "smote_tomek": lambda rows: TomekLinks(sampling_strategy="all"),
    "smote_enn": lambda rows: EditedNearestNeighbours(sampling_strategy="all", n_neighbors=min(3, rows - 1)),
}


def leaves_some_of_each_class(resampling, embeddings, labels, params, seed):
    """Say whether cleaning may go on; where it would empty a class, check that the class is named."""
    plain = balance_embeddings(embeddings, labels, "smote", params, seed)
    left = CLEANERS[resampling](len(plain.labels)).fit_resample(plain.embeddings(embeddings), plain.labels)[1]
    gone = sorted(set(labels.tolist()) - set(left.tolist()))
    if gone:
        with pytest.raises(BalanceError, match=f"leaves no rows of '{gone[0]}'"):
            balance_embeddings(embeddings, labels, resampling, params, seed)
    return not gone


@pytest.mark.parametrize("resampling", RESAMPLINGS)
@given(counts=counts_of_classes, seed=seeds, neighbours=st.integers(1, 6), percent=st.none() | st.integers(1, 100))
@settings(quickly, max_examples=10)
def test_embeddings_come_out_with_the_counts_asked_for_and_made_of_clips_of_their_class(
    resampling, counts, seed, neighbours, percent
):
    labels, ratio = labels_of(counts), None if percent is None else percent / 100
    embeddings = np.random.default_rng(seed).normal(size=(len(labels), 3)).astype(np.float32)
    params = SyntheticParams(neighbours=neighbours, too_few="oversample_first", no_border="smote", ratio=ratio)
    if resampling in CLEANERS and not leaves_some_of_each_class(resampling, embeddings, labels, params, seed):
        return
    samples = balance_embeddings(embeddings, labels, resampling, params, seed)
    made = samples.embeddings(embeddings)
    assert np.isfinite(made).all()
    np.testing.assert_allclose(np.asarray(samples.shares.sum(axis=1)).ravel(), 1, atol=1e-9)
    assert samples.shares.data.min() > 0
    parents = labels[samples.shares.indices]
    assert (parents == np.repeat(samples.labels, np.diff(samples.shares.indptr))).all()
    found, kinds = class_counts(samples.labels), samples.kinds()
    if resampling == "undersample":
        most = 100 * min(counts.values()) // (percent or 100)
        assert found == {name: min(count, most) for name, count in counts.items()}
        return
    least = -(-(percent or 100) * max(counts.values()) // 100)
    asked = {name: max(count, least) for name, count in counts.items()}
    if resampling in ("smote_tomek", "smote_enn"):
        assert all(1 <= found[name] <= asked[name] for name in counts)
    else:
        assert found == asked
        originals = samples.shares.indices[samples.shares.indptr[:-1][kinds == "original"]]
        assert sorted(originals.tolist()) == list(range(len(labels)))
    if resampling == "oversample":
        assert "synthetic" not in kinds


@given(counts=counts_of_classes, seed=seeds, tau=st.floats(0, 1))
@quickly
def test_what_is_done_to_a_trained_head_leaves_it_finite(counts, seed, tau):
    rng = np.random.default_rng(seed)
    head = LinearHead(rng.normal(size=(len(counts), 4)), rng.normal(size=len(counts)))
    clips, sizes = rng.normal(size=(30, 4)).astype(np.float32), np.array(list(counts.values()))
    for changed in (adjusted(head, sizes, tau), tau_normalised(head, tau)):
        assert np.isfinite(changed.logits(clips)).all()
    assert np.isfinite(fit_offsets(head.logits(clips), rng.integers(len(counts), size=30))).all()


# What the properties above leave to be seen in one case each


def test_a_synthetic_sample_lies_between_the_two_clips_that_are_named_as_near_to_them_as_is_said():
    labels = np.repeat(["many", "few"], [40, 8])
    embeddings = np.random.default_rng(0).normal(size=(48, 5)).astype(np.float32)
    samples = balance_embeddings(embeddings, labels, "smote", SyntheticParams(), 1)
    clip_ids = np.array([f"{i}.wav" for i in range(48)], dtype=object)
    table, made = samples.table(clip_ids), samples.embeddings(embeddings)
    assert (table["kind"].value_counts()[["original", "synthetic"]] == [48, 32]).all()
    position = {clip_id: i for i, clip_id in enumerate(clip_ids)}
    few = embeddings[40:]
    for row, point in zip(table.itertuples(), made, strict=True):
        one = embeddings[position[row.clip_id]]
        if row.kind == "synthetic":
            other = embeddings[position[row.other_clip_id]]
            np.testing.assert_allclose(point, row.share * one + (1 - row.share) * other, atol=1e-5)
            between = np.linalg.norm(one - other)
            ranks = [(np.linalg.norm(few - end, axis=1) < between - 1e-6).sum() for end in (one, other)]
            assert min(ranks) <= 5  # one is among the five nearest of the other, itself not counted
        else:
            np.testing.assert_array_equal(point, one)


@pytest.mark.parametrize("resampling", ["smote", "borderline_smote", "adasyn"])
def test_a_class_of_three_is_interpolated_among_its_three_or_repeated_first_as_asked(resampling):
    labels = np.repeat(["many", "few"], [30, 3])
    embeddings = np.random.default_rng(1).normal(size=(33, 2)).astype(np.float32)
    lowered, repeated = (
        balance_embeddings(embeddings, labels, resampling, SyntheticParams(too_few=choice, no_border="smote"), 1)
        for choice in ("lower_neighbours", "oversample_first")
    )
    assert class_counts(lowered.labels) == class_counts(repeated.labels) == {"few": 30, "many": 30}
    assert "copy" not in lowered.kinds()
    assert (repeated.kinds() == "copy").sum() >= 3  # three clips become the six that five neighbours need


def test_a_class_of_one_clip_is_named_unless_it_may_be_repeated():
    labels = np.repeat(["many", "one"], [30, 1])
    embeddings = np.random.default_rng(1).normal(size=(31, 2)).astype(np.float32)
    with pytest.raises(BalanceError, match=r"a single training clip has no .* Set balance\.too_few=oversample_first"):
        balance_embeddings(embeddings, labels, "smote", SyntheticParams(), 1)
    samples = balance_embeddings(embeddings, labels, "smote", SyntheticParams(too_few="oversample_first"), 1)
    assert (samples.embeddings(embeddings)[samples.labels == "one"] == embeddings[30]).all()


@pytest.mark.parametrize("resampling", ["borderline_smote", "adasyn"])
def test_a_class_far_from_the_others_stops_the_run_or_uses_smote(resampling):
    labels = np.repeat(["many", "few"], [40, 20])
    embeddings = np.random.default_rng(2).normal(size=(60, 2)).astype(np.float32)
    embeddings[40:] += 100
    with pytest.raises(BalanceError, match="finds no clips to interpolate in the class 'few'"):
        balance_embeddings(embeddings, labels, resampling, SyntheticParams(), 1)
    samples = balance_embeddings(embeddings, labels, resampling, SyntheticParams(no_border="smote"), 1)
    assert samples.made_by_smote == ("few",)
    assert class_counts(samples.labels) == {"few": 40, "many": 40}


def test_cleaning_takes_out_clips_among_those_of_the_other_class():
    labels = np.repeat(["left", "right"], [30, 30])
    embeddings = np.random.default_rng(3).normal(0, 0.3, size=(60, 2)).astype(np.float32)
    embeddings[:30, 0] -= 2
    embeddings[30:, 0] += 2
    embeddings[0, 0] = 2.0
    samples = balance_embeddings(embeddings, labels, "smote_enn", SyntheticParams(), 1)
    assert 0 not in samples.shares.indices
    assert set(range(1, 30)) <= set(samples.shares.indices)


def test_a_seed_makes_the_same_rows_again_and_another_one_others():
    labels = np.repeat(["many", "few"], [40, 8])
    embeddings = np.random.default_rng(0).normal(size=(48, 5)).astype(np.float32)
    made = [
        balance_embeddings(embeddings, labels, "smote", SyntheticParams(), seed).embeddings(embeddings)
        for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(made[0], made[1])
    assert (made[0] != made[2]).any()


def test_a_draw_leaves_no_class_without_its_quota():
    assert class_counts(
        labels_of({"a": 5, "b": 1})[draw(labels_of({"a": 5, "b": 1}), {"a": 2, "b": 9}, np.random.default_rng(0))]
    ) == {"a": 2, "b": 9}
