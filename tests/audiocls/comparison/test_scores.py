from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as arrays

from audiocls.comparison.scores import METRICS, compare_scores, score_seed
from audiocls.metrics.classification import summary_metrics

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
    table = compare_scores(
        {"none": [logits, logits, other], "louder": [2 * logits, 2 * logits, 2 * other]}, targets, groups, COUNTS
    )
    row = table.set_index("method").loc["louder"]
    assert row.f1_macro_high - row.f1_macro_low > 0.05
    assert (row.f1_macro_gain_low, row.f1_macro_gain, row.f1_macro_gain_high) == (0, 0, 0)
    assert row.calibration_error_gain_low != 0


def test_fewer_groups_and_seeds_that_disagree_widen_the_interval():
    targets, groups, logits = drawn(4)

    def width(seeds, groups):
        row = compare_scores({"none": seeds}, targets, groups, COUNTS).iloc[0]
        return row.f1_macro_high - row.f1_macro_low

    worse = np.where(np.arange(200)[:, None] % 2, logits, -logits)
    assert width([logits, worse, logits], groups) > 1.5 * width([logits] * 3, groups)
    by_correctness = np.where(logits.argmax(axis=1) == targets, "good", groups.astype(str)).astype(object)
    assert width([logits], by_correctness) > 1.5 * width([logits], groups)


def test_of_two_seeds_only_methods_that_give_both_the_same_scores_have_intervals():
    targets, groups, logits = drawn(9)
    table = compare_scores({"none": [logits] * 2, "drawn": [logits, drawn(10)[2]]}, targets, groups, COUNTS)
    none, drawn_anew = (table.set_index("method").loc[name] for name in ("none", "drawn"))
    one_seed = compare_scores({"none": [logits]}, targets, groups, COUNTS).iloc[0]
    assert (none.f1_macro_low, none.f1_macro_high) == (one_seed.f1_macro_low, one_seed.f1_macro_high)
    assert np.isfinite([drawn_anew.f1_macro, drawn_anew.f1_macro_gain]).all()
    assert np.isnan([drawn_anew.f1_macro_low, drawn_anew.f1_macro_gain_low, drawn_anew.f1_macro_gain_high]).all()


def test_a_class_in_few_groups_has_the_wide_interval_of_so_few():
    targets, groups, logits = drawn(7)
    groups = groups.copy()
    groups[targets == 3] = np.resize(["rare 1", "rare 2"], (targets == 3).sum())
    never_found = np.where(np.arange(4) == 3, -99.0, logits)
    row = compare_scores({"none": [never_found]}, targets, groups, COUNTS).iloc[0]
    assert row.f1_rarest_third_low == row.f1_rarest_third == 0
    assert row.f1_rarest_third_high > 0.8  # what two of two failures leave open
    one_group = np.where(targets == 3, "rare", groups.astype(str)).astype(object)
    row = compare_scores({"none": [logits]}, targets, one_group, COUNTS).iloc[0]
    assert np.isnan([row.f1_rarest_third_low, row.f1_rarest_third_high]).all()
    assert np.isfinite([row.f1_rarest_third, row.f1_most_frequent_third_low]).all()


def test_of_fewer_groups_than_an_interval_takes_there_is_a_score_alone():
    targets, _, logits = drawn(8)
    groups = np.array([str(i % 4) for i in range(200)], object)
    row = compare_scores({"none": [logits]}, targets, groups, COUNTS).iloc[0]
    assert row.f1_macro > 0.5
    assert np.isnan([row[f"{metric}{end}"] for metric in METRICS for end in ("_low", "_high")]).all()


@pytest.mark.parametrize(("num_groups", "num_seeds"), [(5, 1), (20, 1), (20, 5)])
def test_a_gain_that_is_chance_is_found_as_rarely_as_95_percent_say(num_groups, num_seeds):
    """Models of both methods are drawn from one distribution: with several seeds each has a bias of its own."""
    rng = np.random.default_rng([num_groups, num_seeds])
    found, trials = 0, 60
    groups = np.repeat(np.arange(num_groups), 8).astype(str).astype(object)
    own = 0.6 if num_seeds > 1 else 0.0
    for _ in range(trials):
        targets = rng.integers(4, size=len(groups))
        shared = 1.5 * np.eye(4)[targets] + rng.normal(size=(len(groups), 4))

        def models(shared=shared):
            noise = [(rng.normal(size=4), rng.normal(size=shared.shape)) for _ in range(num_seeds)]
            return [shared + own * bias + 0.5 * each for bias, each in noise]

        row = compare_scores({"none": models(), "same": models()}, targets, groups, COUNTS).set_index("method")
        found += bool(row.loc["same", "f1_macro_gain_low"] > 0 or row.loc["same", "f1_macro_gain_high"] < 0)
    assert found <= 8  # 3 are expected, and 9 come once in 300 times


def test_intervals_hold_the_score_and_a_class_without_clips_has_none():
    targets, groups, logits = drawn(5)
    rest = targets != 3
    table = compare_scores({"none": [logits[rest]]}, targets[rest], groups[rest], COUNTS).iloc[0]
    assert np.isnan([table.f1_rarest_third, table.f1_rarest_third_low]).all()
    for metric in ("f1_macro", "balanced_accuracy", "f1_most_frequent_third"):
        assert table[f"{metric}_low"] < table[metric] < table[f"{metric}_high"]
    assert set(METRICS) < set(table.index)
