"""Scores of groups and of files, worked out by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from audiocls.evaluation.per_file import file_scores
from audiocls.evaluation.per_group import per_group
from audiocls.metrics.intervals import GroupCounts, accuracy, interval, jackknife


def table(groups, paths) -> pd.DataFrame:
    return pd.DataFrame({"group": groups, "source": None, "path": paths})


def test_the_worst_group_comes_first_and_its_interval_is_over_its_files():
    groups = ["good"] * 6 + ["bad"] * 6 + ["one"] * 2
    paths = [f"{i}" for i in range(12)] + ["both", "both"]
    targets = np.array([0, 1] * 6 + [0, 0])
    predicted = np.array([0, 1, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0])
    found = per_group(table(groups, paths), targets, predicted, targets == predicted, 2).set_index("group")
    assert found.index.tolist() == ["bad", "good", "one"]
    assert found["clips"].tolist() == [6, 6, 2]
    assert found["files"].tolist() == [6, 6, 1]
    assert found["accuracy"].tolist() == pytest.approx([2 / 6, 5 / 6, 1])
    assert found.loc["bad", "balanced_accuracy"] == pytest.approx((2 / 3 + 0) / 2)
    assert found.loc["good", "f1_macro"] == pytest.approx((6 / 7 + 4 / 5) / 2)
    assert found.loc["one", ["balanced_accuracy", "f1_macro"]].isna().all()
    right = np.array([0, 0, 1, 0, 1, 0])
    over_files = interval(
        jackknife(GroupCounts.of(np.ones(6, int), right[None], np.arange(6), 2), accuracy), fraction=True
    )
    ends = [float(over_files.low), float(over_files.high)]
    assert found.loc["bad", ["accuracy_low", "accuracy_high"]].tolist() == pytest.approx(ends)
    assert found["no_interval"].tolist() == ["", "", "fewer than 5 files"]


def test_a_file_has_the_mean_of_its_segments_and_one_of_several_classes_is_left_out():
    clips = table(["x", "x", "x", "y", "z", "z"], ["a", "a", "a", "b", "c", "c"])
    targets = np.array([0, 0, 0, 1, 0, 1])
    first = np.array([0.4, 0.4, 0.9, 0.2, 0.5, 0.5])
    found, left_out = file_scores(clips, targets, np.stack([first, 1 - first], axis=1))
    assert left_out == 1
    assert float(found["file/accuracy"].value) == 1
    assert float(found["file/loss"].value) == pytest.approx(-(np.log(1.7 / 3) + np.log(0.8)) / 2)
    assert np.isnan(found["file/accuracy"].low)
    assert file_scores(clips.iloc[2:5], targets[2:5], np.ones((3, 2)) / 2) == ({}, 0)
