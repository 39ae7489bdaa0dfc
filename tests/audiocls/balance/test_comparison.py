from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from audiocls.balance.comparison import METHODS, Clips, compare_methods, compare_scores, verdict
from audiocls.balance_params import BlendParams

COUNTS = np.array([160, 40, 8])


def clips(counts, spread, seed):
    """Clips of three classes, the centres 2 * `spread` apart, by eight speakers."""
    rng = np.random.default_rng(seed)
    targets = np.repeat(np.arange(3), counts)
    embeddings = spread * np.eye(3, 6)[targets] + rng.normal(size=(len(targets), 6))
    return Clips(embeddings.astype(np.float32), targets, rng.integers(8, size=len(targets)).astype(str).astype(object))


def compared(spread):
    training, validation = clips(COUNTS, spread, 1), clips([60, 60, 60], spread, 2)
    params = BlendParams(no_border="smote")
    logits = compare_methods(training, validation, 3, params, penalty=1.0, seeds=(1, 2))
    return logits, compare_scores(logits, validation, COUNTS, seed=1), validation


@pytest.fixture(scope="module")
def overlapping():
    return compared(2.0)


def test_every_method_gives_finite_logits_by_seed_and_a_row(overlapping):
    logits, table, _ = overlapping
    assert set(table["method"]) == set(logits) == set(METHODS)
    for by_seed in logits.values():
        assert [each.shape for each in by_seed] == [(180, 3)] * 2
        assert np.isfinite(by_seed).all()
    scores = table.set_index("method")
    assert (scores["low"] < scores["f1_macro"]).all()
    assert (scores["f1_macro"] < scores["high"]).all()
    assert scores.loc["none", ["gain", "gain_low", "gain_high"]].tolist() == [0, 0, 0]


def test_where_the_rare_class_is_drowned_a_method_is_recommended_with_gain_and_price(overlapping):
    _, table, _ = overlapping
    best = table.iloc[0]
    assert best.gain_low > 0
    assert best.f1_rarest_third > table.set_index("method").loc["none", "f1_rarest_third"]
    assert verdict(table).startswith(f"Take {best.method}: macro-F1 +")


def test_where_the_classes_lie_far_apart_balancing_does_not_help_and_it_says_so():
    _, table, _ = compared(30.0)
    assert table.set_index("method").loc["none", "f1_macro"] == 1
    assert verdict(table).startswith("Balancing did not help here: of 9 methods")
    assert verdict(table).endswith("so take none.")


def test_the_interval_of_a_gain_is_paired_by_the_groups(overlapping):
    """The same groups are drawn for all methods: one that predicts as none does gains nothing in any draw."""
    logits, _, validation = overlapping
    alike = {"none": logits["none"], "louder": [2 * each for each in logits["none"]]}
    row = compare_scores(alike, validation, COUNTS, seed=1).set_index("method").loc["louder"]
    assert row.high - row.low > 0.05
    assert (row.gain_low, row.gain, row.gain_high) == (0, 0, 0)


def test_what_is_fitted_on_validation_is_scored_on_its_other_half():
    """Thresholds fitted on labels that are noise gain nothing on clips that they were not fitted on."""
    rng = np.random.default_rng(4)
    training = clips(COUNTS, 2.0, 1)
    noise = Clips(
        rng.normal(size=(400, 6)).astype(np.float32),
        rng.integers(3, size=400),
        np.arange(400).astype(str).astype(object),
    )
    methods = ("none", "class_thresholds", "post_hoc_logit_adjustment")
    logits = compare_methods(training, noise, 3, BlendParams(), penalty=1.0, seeds=(1, 2), methods=methods)
    accuracy = np.mean([(each.argmax(axis=1) == noise.targets).mean() for each in logits["class_thresholds"]])
    assert accuracy == pytest.approx(1 / 3, abs=0.05)


def test_the_rarest_and_the_most_frequent_third_are_by_training_counts(overlapping):
    logits, _, validation = overlapping
    turned = compare_scores(logits, validation, COUNTS[::-1], seed=1).set_index("method")
    straight = compare_scores(logits, validation, COUNTS, seed=1).set_index("method")
    pd.testing.assert_series_equal(
        turned["f1_rarest_third"], straight["f1_most_frequent_third"], check_names=False, check_index=True
    )
