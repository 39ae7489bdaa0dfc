from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import pytest

from audiocls.errors import DataError, LeakageError
from audiocls.params.run import SplitParams
from audiocls.sources.columns import SPLITS
from audiocls.splits.assignment import assign_splits

SHARES = {"train": 0.7, "validation": 0.15, "test": 0.15}
PARAMS = SplitParams(test_fraction=SHARES["test"], validation_fraction=SHARES["validation"])


def count(clips, made):
    return pd.crosstab(clips["label"], made).reindex(columns=list(SPLITS), fill_value=0)


@pytest.fixture
def assign(tmp_path):
    """A function that writes a clips table, splits it, and reads the result."""

    def assigned(rows, columns=("group", "label", "split"), seed=0, params=PARAMS):
        table = pd.DataFrame(rows, columns=list(columns))
        ids = [f"{i}.wav" for i in range(len(table))]
        table = table.assign(clip_id=ids, split=table.get("split"), audio_hash=table.get("audio_hash", pd.Series(ids)))
        path = tmp_path / "corpora" / "digest" / "clips.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        table.to_parquet(path)
        return pd.read_parquet(assign_splits(path, params, seed, tmp_path))

    return assigned


# Given splits


def test_a_given_split_is_kept_exactly(assign):
    given_splits = ["train", "test", "validation", "train", "test", "train"]
    table = assign([(str(i), "ab"[i % 2], name) for i, name in enumerate(given_splits)])
    assert table["split"].tolist() == given_splits


def test_without_validation_one_is_made_of_training_groups_and_test_stays(assign, caplog):
    rows = [(f"{label}-{i // 2}", label, "test" if i < 20 else "train") for label in "ab" for i in range(100)]
    table = assign(rows)
    given_splits = pd.DataFrame(rows, columns=["group", "label", "split"])["split"]
    assert (table.loc[given_splits == "test", "split"] == "test").all()
    assert set(table.loc[given_splits == "train", "split"]) == {"train", "validation"}
    made = count(table, table["split"])["validation"]
    assert np.abs(made - 0.15 * 80).max() <= 2
    assert "no validation clips; they are taken from its training clips" in caplog.text


def test_without_test_one_is_made_and_validation_stays(assign):
    rows = [(f"{label}-{i}", label, "validation" if i < 10 else "train") for label in "ab" for i in range(50)]
    table = assign(rows)
    given_splits = pd.DataFrame(rows, columns=["group", "label", "split"])["split"]
    assert ((table["split"] == "validation") == (given_splits == "validation")).all()
    assert set(table["split"]) == set(SPLITS)


def test_without_given_splits_nothing_is_said_about_them(assign, caplog):
    table = assign([(f"{label}-{i}", label) for label in "ab" for i in range(20)], columns=("group", "label"))
    assert set(table["split"]) == set(SPLITS)
    assert "given split" not in caplog.text


def test_the_other_columns_and_the_order_of_clips_stay(assign):
    table = assign([(f"{label}-{i}", label) for label in "ab" for i in range(20)], columns=("group", "label"))
    assert table["clip_id"].tolist() == [f"{i}.wav" for i in range(40)]


@pytest.mark.parametrize("with_validation", [True, False])
def test_a_straddling_group_stops_the_run_and_is_named_with_its_splits_and_counts(assign, with_validation):
    rows = [(str(i), "ab"[i % 2], name) for i, name in enumerate(["train", "test"] * 4)]
    rows += [("valid", "a", "validation")] if with_validation else []
    rows += [("ann", "a", "train"), ("ann", "b", "train"), ("ann", "a", "test")]
    with pytest.raises(LeakageError, match=r"^1 of \d+ groups .*: 'ann' \(1 in test, 2 in train\)\. Correct the split"):
        assign(rows)


def test_ten_straddling_groups_are_named_and_the_rest_counted(assign):
    rows = [(f"speaker-{i:02}", "ab"[i % 2], name) for i in range(14) for name in ("train", "test")]
    with pytest.raises(LeakageError, match=r"^14 of 14 groups .*'speaker-00'.*'speaker-09' \([^)]*\) and 4 more\."):
        assign(rows)


# What cannot be trained or tested


def test_one_class_is_an_error(assign):
    with pytest.raises(DataError, match="all 30 usable clips are of the class 'a'"):
        assign([(str(i), "a") for i in range(30)], columns=("group", "label"))


def test_too_few_groups_for_three_splits_are_an_error_that_counts_them(assign):
    with pytest.raises(DataError, match=r"no (validation|test) clips: there are 40 clips in 2 groups"):
        assign([(name, label) for name in ("ann", "bob") for label in "ab" * 10], columns=("group", "label"))


@pytest.mark.parametrize("names", [["test"], ["validation", "test"]])
def test_a_given_split_without_training_clips_is_an_error(assign, names):
    with pytest.raises(DataError, match="the split has no train"):
        assign([(str(i), "ab"[i % 2], names[i % len(names)]) for i in range(12)])


def test_classes_without_training_clips_are_an_error_that_names_them(assign):
    rows = [(f"{label}-{name}", label, name) for label in "ab" for name in SPLITS]
    with pytest.raises(DataError, match=r"2 classes have no training clips: x, y\."):
        assign([*rows, ("1", "x", "test"), ("2", "y", "validation")])


def test_classes_without_test_clips_are_a_warning_that_names_them(assign, caplog):
    rows = [(f"{label}-{name}", label, name) for label in "ab" for name in SPLITS]
    with caplog.at_level(logging.WARNING, logger="audiocls.splits.assignment"):
        assign([*rows, ("1", "x", "train"), ("2", "x", "validation"), ("3", "y", "train"), ("4", "y", "validation")])
    assert "2 classes have no test clips and are not scored: x, y" in caplog.text
    assert "no validation clips" not in caplog.text
