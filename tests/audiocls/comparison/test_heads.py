from __future__ import annotations

import numpy as np
import pytest

from audiocls.comparison.heads import Embedded, compare_methods
from audiocls.comparison.scores import compare_scores
from audiocls.heads.clips import Clips
from audiocls.heads.linear import LinearHead
from audiocls.params.balance import (
    ClassThresholds,
    Decoupled,
    EmbeddingBalance,
    Focal,
    NoBalance,
    Oversample,
    PostHocLogitAdjustment,
    TauNorm,
    Undersample,
    WeightedLoss,
)

COUNTS = np.array([160, 40, 8])
METHODS = {
    "none": NoBalance(),
    "oversample": Oversample(method="oversample"),
    "undersample": Undersample(method="undersample"),
    "weighted_loss": WeightedLoss(method="weighted_loss"),
    "smote": EmbeddingBalance(method="smote"),
    "decoupled": Decoupled(method="decoupled", resampling="adasyn", no_border="smote"),
    "tau_norm": TauNorm(method="tau_norm"),
    "post_hoc_logit_adjustment": PostHocLogitAdjustment(method="post_hoc_logit_adjustment", tau=None),
    "class_thresholds": ClassThresholds(method="class_thresholds"),
}


def clips(counts, spread, seed):
    """Clips of three classes, the centres 2 * `spread` apart, by twenty speakers."""
    rng = np.random.default_rng(seed)
    targets = np.repeat(np.arange(3), counts)
    embeddings = spread * np.eye(3, 6)[targets] + rng.normal(size=(len(targets), 6))
    return Clips(embeddings.astype(np.float32), targets, rng.integers(20, size=len(targets)).astype(str).astype(object))


def corpus(spread):
    training, validation, test = (clips(n, spread, i) for i, n in enumerate((COUNTS, [60] * 3, [60] * 3)))
    return Embedded(training, validation, test, ("a", "b", "c"))


@pytest.fixture(scope="module")
def overlapping():
    embedded = corpus(2.0)
    return embedded, compare_methods(embedded, METHODS, (1, 2, 3))[0]


def test_every_method_gives_finite_logits_of_both_splits_by_seed(overlapping):
    _, found = overlapping
    assert set(found) == set(METHODS)
    for by_seed in found.values():
        assert [(each.validation.shape, each.test.shape) for each in by_seed] == [((180, 3), (180, 3))] * 3
        assert np.isfinite([each.test for each in by_seed]).all()


def test_where_the_rare_class_is_drowned_methods_help_it(overlapping):
    embedded, found = overlapping
    test, logits = embedded.test, {name: [each.test for each in by_seed] for name, by_seed in found.items()}
    table = compare_scores(logits, test.targets, test.groups, embedded.counts).set_index("method")
    for method in ("weighted_loss", "smote", "decoupled", "post_hoc_logit_adjustment"):
        assert table.loc[method, "f1_macro_gain_low"] > 0
        assert table.loc[method, "f1_rarest_third_gain"] > 0


def test_what_gains_nothing_on_held_out_folds_is_the_plain_head_for_choice_and_report():
    """Thresholds fitted on labels that are noise gain only on the clips that they were fitted on."""
    rng = np.random.default_rng(4)
    noise = Clips(
        rng.normal(size=(400, 6)).astype(np.float32),
        rng.integers(3, size=400),
        np.arange(400).astype(str).astype(object),
    )
    embedded = Embedded(clips([60] * 3, 2.0, 1), noise, noise, ("a", "b", "c"))
    methods = {"none": NoBalance(), "fitted": ClassThresholds(method="class_thresholds")}
    found, _ = compare_methods(embedded, methods, (1, 2))
    for plain, fitted in zip(found["none"], found["fitted"], strict=True):
        np.testing.assert_array_equal(fitted.validation, plain.validation)
        np.testing.assert_array_equal(fitted.test, plain.test)


def test_what_is_fitted_and_helps_is_scored_on_validation_by_heads_that_did_not_see_the_fold(overlapping):
    _, found = overlapping
    for plain, fitted in zip(found["none"], found["class_thresholds"], strict=True):
        assert (fitted.test - plain.test).std(axis=0).max() < 1e-4  # one shift of all of test
        shifts = np.unique(np.round(fitted.validation - plain.validation, 3), axis=0)
        assert 2 <= len(shifts) <= 5  # one a fold


def test_test_clips_choose_nothing(overlapping):
    """With other test clips, what is said of validation, and of a clip that is the same, stays."""
    embedded, found = overlapping
    other = clips([60] * 3, 9.0, 7)
    mixed = Clips(np.concatenate([embedded.test.embeddings[:1], other.embeddings[1:]]), other.targets, other.groups)
    changed = Embedded(embedded.training, embedded.validation, mixed, embedded.labels)
    again, _ = compare_methods(changed, METHODS, (1, 2, 3))
    for name, by_seed in found.items():
        for before, after in zip(by_seed, again[name], strict=True):
            np.testing.assert_array_equal(after.validation, before.validation)
            np.testing.assert_allclose(after.test[0], before.test[0], rtol=1e-5)


def test_the_windows_of_a_clip_have_one_vote_each_together(overlapping):
    embedded, _ = overlapping
    plain = embedded.test
    twice = Clips(np.repeat(plain.embeddings, 2, axis=0), plain.targets, plain.groups, np.repeat(np.arange(180), 2))
    head = LinearHead(np.eye(3, 6), np.zeros(3))
    chosen = np.arange(180) % 3 == 0
    for one, two in ((plain, twice), (plain.some(chosen), twice.some(chosen))):
        np.testing.assert_allclose(
            two.logits(head) - two.logits(head).max(axis=1, keepdims=True),
            one.logits(head) - one.logits(head).max(axis=1, keepdims=True),
            atol=1e-4,
        )


def test_a_method_that_the_class_counts_do_not_allow_is_told_with_the_reason_and_the_rest_goes_on():
    methods = {"none": NoBalance(), "asked": Oversample(method="oversample", counts={"a": 3})}
    found, refused = compare_methods(corpus(2.0), methods, (1,))
    assert list(found) == ["none"]
    assert "counts asks for fewer clips than there are ('a': 3 of 160)" in refused["asked"]


def test_a_head_that_was_trained_with_the_encoder_is_none_and_what_is_changed_after_training():
    own = LinearHead(np.zeros((3, 6)), np.array([0.0, 1.0, 0.0]))
    methods = {"none": NoBalance(), "adjusted": PostHocLogitAdjustment(method="post_hoc_logit_adjustment", tau=1.0)}
    found, _ = compare_methods(corpus(2.0), methods, (1,), own)
    assert np.unique(found["none"][0].test, axis=0).tolist() == [[0, 1, 0]]
    np.testing.assert_allclose(found["adjusted"][0].test[0], own.bias - np.log(COUNTS / COUNTS.sum()), rtol=1e-5)


def test_a_method_that_trains_the_whole_model_is_no_head():
    with pytest.raises(ValueError, match="focal trains a whole model"):
        compare_methods(corpus(2.0), {"focal": Focal(method="focal")}, (1,))
