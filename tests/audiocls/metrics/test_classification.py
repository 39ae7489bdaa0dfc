from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as npst
from sklearn.metrics import balanced_accuracy_score, f1_score, roc_auc_score

from audiocls.metrics.classification import confusion, per_class_metrics, summary_metrics

TARGETS = np.array([0, 0, 0, 1, 1, 2])
PREDICTED = np.array([0, 0, 1, 1, 1, 0])


def test_a_case_worked_out_by_hand():
    metrics = summary_metrics(TARGETS, PREDICTED)
    # Class 0: precision 2/3, recall 2/3. Class 1: precision 2/3, recall 1. Class 2: never predicted.
    assert metrics["accuracy"] == pytest.approx(4 / 6)
    assert metrics["precision_macro"] == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)
    assert metrics["recall_macro"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert metrics["f1_macro"] == pytest.approx((2 / 3 + 4 / 5 + 0) / 3)
    assert metrics["f1_weighted"] == pytest.approx((3 * 2 / 3 + 2 * 4 / 5 + 0) / 6)
    assert metrics["balanced_accuracy"] == metrics["recall_macro"]


def test_a_class_without_clips_has_no_part_in_the_macro_average():
    assert summary_metrics(np.array([0, 0, 1]), np.array([0, 0, 1]))["f1_macro"] == 1.0
    # A false prediction of class 2, which has no clips, costs recall where it was taken from, and no more.
    metrics = summary_metrics(np.array([0, 0, 1]), np.array([0, 2, 1]))
    assert metrics["recall_macro"] == pytest.approx((0.5 + 1) / 2)


@given(
    targets=npst.arrays(np.int64, st.just(40), elements=st.integers(0, 4)),
    predicted=npst.arrays(np.int64, st.just(40), elements=st.integers(0, 4)),
)
def test_scores_are_those_of_scikit_learn_where_it_defines_them(targets, predicted):
    metrics = summary_metrics(targets, predicted)
    present = np.unique(targets)
    assert metrics["f1_macro"] == pytest.approx(
        f1_score(targets, predicted, labels=present, average="macro", zero_division=0)
    )
    known = np.isin(predicted, present)
    if known.all():
        assert metrics["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(targets, predicted))
    assert all(0 <= value <= 1 for value in metrics.values())


def test_every_class_has_a_row_and_one_without_clips_has_no_score():
    probabilities = np.eye(4)[PREDICTED] * 0.6 + 0.1
    table = per_class_metrics(TARGETS, PREDICTED, ["a", "b", "c", "d"], probabilities).set_index("label")
    assert table["clips"].tolist() == [3, 2, 1, 0]
    assert table.loc["b", "precision"] == pytest.approx(2 / 3)
    assert table.loc["c", "f1"] == 0.0
    assert table.loc["d", ["precision", "recall", "f1", "auroc", "average_precision"]].isna().all()
    assert table.loc["a", "auroc"] == pytest.approx(roc_auc_score(TARGETS == 0, PREDICTED == 0))
    assert table.loc["b", "average_precision"] == pytest.approx(2 / 3)


def test_the_matrix_has_true_classes_in_rows_and_predicted_ones_in_columns():
    counts = confusion(TARGETS, PREDICTED, ["a", "b", "c"])
    assert counts.loc["a", "b"] == 1
    assert counts.loc["c", "a"] == 1
    assert counts.loc["b", "a"] == 0
    assert counts.to_numpy().sum() == len(TARGETS)
    assert counts.index.name == "label"
