from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from audiocls.balance.selection import balance, check_training_only
from audiocls.errors import LeakageError
from audiocls.params.balance import NoBalance, Oversample, Progressive, Undersample, WeightedLoss

# Of class_counts in training.
COUNTS = {"a": 60, "b": 12, "c": 3}


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


@pytest.mark.parametrize(
    ("params", "after", "kinds"),
    [
        (NoBalance(), COUNTS, (75, 0, 0)),
        (WeightedLoss(method="weighted_loss"), COUNTS, (75, 0, 0)),
        (Oversample(method="oversample"), dict.fromkeys(COUNTS, 60), (75, 105, 0)),
        (Undersample(method="undersample"), dict.fromkeys(COUNTS, 3), (9, 0, 66)),
        (Progressive(method="progressive"), dict.fromkeys(COUNTS, 25), (40, 35, 35)),
    ],
    ids=lambda value: getattr(value, "method", ""),
)
def test_every_training_clip_is_listed_with_how_often_it_is_seen(params, after, kinds, split_clips, tmp_path):
    balanced = balance(split_clips, params, 1, tmp_path)
    listed, table = pd.read_parquet(balanced.rows), pd.read_parquet(split_clips)
    pd.testing.assert_series_equal(
        listed["clip_id"], table[table["split"] == "train"]["clip_id"].reset_index(drop=True)
    )
    assert (table["clip_id"].iloc[listed["row"]].to_numpy() == listed["clip_id"]).all()
    assert balanced.counts_before == listed["label"].value_counts().to_dict() == COUNTS
    assert balanced.counts_after == listed.groupby("label")["seen"].sum().to_dict() == after
    assert tuple(balanced.rows_of_kind[kind] for kind in ("original", "copy", "left_out")) == kinds
    assert (balanced.class_weights is not None) == (params.method == "weighted_loss")


def test_a_seed_draws_the_same_clips_again_and_another_one_others(split_clips, tmp_path):
    seen = [
        pd.read_parquet(balance(split_clips, Undersample(method="undersample"), seed, tmp_path / str(i)).rows)["seen"]
        for i, seed in enumerate((1, 1, 2))
    ]
    assert (seen[0] == seen[1]).all()
    assert (seen[0] != seen[2]).any()


@pytest.mark.parametrize("leaked", ["validation", "test"])
def test_a_held_out_clip_among_the_rows_stops_the_run_and_is_named(split_clips, leaked):
    table = pd.read_parquet(split_clips)
    training, held_out = (np.flatnonzero(table["split"] == name) for name in ("train", leaked))
    ids = table["clip_id"].to_numpy(object)
    check_training_only(table, training, ids[training])
    rows = np.append(training, held_out[3:5])
    with pytest.raises(LeakageError, match=rf"^2 rows .*: {held_out[3]}\.wav, {held_out[4]}\.wav\.$"):
        check_training_only(table, rows, ids[rows])


def test_a_list_of_another_table_stops_the_run_and_is_named(split_clips):
    """Its rows may all be training clips here, and test clips there."""
    table = pd.read_parquet(split_clips)
    training = np.flatnonzero(table["split"] == "train")
    listed = table["clip_id"].to_numpy(object)[training].copy()
    listed[7] = "elsewhere.wav"
    with pytest.raises(LeakageError, match=r"^1 row .* listed as: elsewhere\.wav\."):
        check_training_only(table, training, listed)
