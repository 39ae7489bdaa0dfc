from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from audiocls.balance.scores import METRICS, compare_scores, score_seed
from audiocls.metrics import summary_metrics

COUNTS = np.array([100, 30, 10, 3])


def drawn(seed, clips=200, speakers=12):
    """Targets of four classes, their groups, and logits that are right more often than not."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(4, size=clips)
    logits = rng.normal(size=(clips, 4)) + 1.5 * np.eye(4)[targets]
    return targets, rng.integers(speakers, size=clips).astype(str).astype(object), logits


@settings(max_examples=30, deadline=None)
@given(
    targets=arrays.arrays(np.int64, 20, elements=st.integers(0, 3)),
    predicted=arrays.arrays(np.int64, 20, elements=st.integers(0, 3)),
)
def test_scores_are_those_of_every_other_report(targets, predicted):
    groups = np.arange(20).astype(str).astype(object)
    found = score_seed(np.eye(4)[predicted], targets, groups, COUNTS)
    expected = summary_metrics(targets, predicted)
    assert found["f1_macro"] == pytest.approx(expected["f1_macro"])
    assert found["balanced_accuracy"] == pytest.approx(expected["balanced_accuracy"])


def test_the_thirds_are_by_training_counts():
    targets, groups, _ = drawn(1)
    logits = 9.0 * np.eye(4)[np.where(targets == 3, 2, targets)]  # the rarest class is never found
    found = score_seed(logits, targets, groups, COUNTS)
    assert (found["f1_rarest_third"], found["f1_most_frequent_third"]) == (0, 1)
    turned = score_seed(logits, targets, groups, COUNTS[::-1])
    assert (turned["f1_rarest_third"], turned["f1_most_frequent_third"]) == (1, 0)


def test_the_calibration_error_is_what_confidence_exceeds_accuracy_by():
    groups = np.arange(10).astype(str).astype(object)
    logits = np.log(np.tile([0.9, 0.05, 0.03, 0.02], (10, 1)))
    targets = np.array([0] * 6 + [1] * 4)
    assert score_seed(logits, targets, groups, COUNTS)["calibration_error"] == pytest.approx(0.3)


def test_a_method_that_answers_as_none_does_gains_nothing_in_any_draw():
    """The same groups and seeds are drawn for all methods."""
    targets, groups, logits = drawn(2)
    other = drawn(3)[2] + logits
    table = compare_scores({"none": [logits, other], "louder": [2 * logits, 2 * other]}, targets, groups, COUNTS, 1)
    row = table.set_index("method").loc["louder"]
    assert row.f1_macro_high - row.f1_macro_low > 0.05
    assert (row.f1_macro_gain_low, row.f1_macro_gain, row.f1_macro_gain_high) == (0, 0, 0)
    assert row.calibration_error_gain_low != 0


def test_fewer_groups_and_seeds_that_disagree_widen_the_interval():
    targets, groups, logits = drawn(4)

    def width(seeds, groups):
        row = compare_scores({"none": seeds}, targets, groups, COUNTS, 1).iloc[0]
        return row.f1_macro_high - row.f1_macro_low

    worse = np.where(np.arange(200)[:, None] % 2, logits, -logits)
    assert width([logits, worse], groups) > 1.5 * width([logits, logits], groups)
    by_correctness = np.where(logits.argmax(axis=1) == targets, "good", groups.astype(str)).astype(object)
    assert width([logits], by_correctness) > 1.5 * width([logits], groups)


def test_a_class_in_few_groups_is_in_every_draw():
    """A draw without it would score another thing than the rest, and lift the interval's end."""
    targets, groups, logits = drawn(7)
    groups = groups.copy()
    groups[targets == 3] = np.resize(["rare 1", "rare 2"], (targets == 3).sum())
    never_found = np.where(np.arange(4) == 3, -99.0, logits)
    row = compare_scores({"none": [never_found]}, targets, groups, COUNTS, 1).iloc[0]
    assert (row.f1_rarest_third_low, row.f1_rarest_third_high) == (0, 0)
    assert row.balanced_accuracy_high <= 0.75


@pytest.mark.parametrize("num_seeds", [2, 5])
def test_a_gain_that_is_chance_is_found_as_rarely_as_95_percent_say(num_seeds, monkeypatch):
    """Models of both methods are drawn from one distribution: each seed has a bias of its own."""
    monkeypatch.setattr("audiocls.balance.scores._REPLICATES", 200)
    rng = np.random.default_rng(num_seeds)
    found = 0
    for _ in range(100):
        targets, groups = rng.integers(4, size=160), np.repeat(np.arange(20), 8).astype(str).astype(object)
        shared = 1.5 * np.eye(4)[targets] + rng.normal(size=(160, 4))

        def models(shared=shared):
            return [shared + rng.normal(size=4) * 0.6 + 0.5 * rng.normal(size=(160, 4)) for _ in range(num_seeds)]

        row = compare_scores({"none": models(), "same": models()}, targets, groups, COUNTS, 1).set_index("method")
        found += bool(row.loc["same", "f1_macro_gain_low"] > 0 or row.loc["same", "f1_macro_gain_high"] < 0)
    assert found <= 14  # 5 are expected; with two seeds a few more


def test_intervals_hold_the_score_and_a_class_without_clips_has_none():
    targets, groups, logits = drawn(5)
    rest = targets != 3
    table = compare_scores({"none": [logits[rest]]}, targets[rest], groups[rest], COUNTS, 1).iloc[0]
    assert np.isnan([table.f1_rarest_third, table.f1_rarest_third_low]).all()
    for metric in ("f1_macro", "balanced_accuracy", "f1_most_frequent_third"):
        assert table[f"{metric}_low"] < table[metric] < table[f"{metric}_high"]
    assert set(METRICS) < set(table.index)


def test_draws_are_the_same_however_many_fit_into_the_memory(monkeypatch):
    targets, groups, logits = drawn(6)
    whole = compare_scores({"none": [logits, -logits]}, targets, groups, COUNTS, 1)
    monkeypatch.setattr("audiocls.balance.scores._MOST_DRAWN", 12 * 500)
    parts = compare_scores({"none": [logits, -logits]}, targets, groups, COUNTS, 1)
    np.testing.assert_allclose(parts.iloc[0, 1:].astype(float), whole.iloc[0, 1:].astype(float))
