"""Copies across splits: what is left out, what it costs, and which groups a made split keeps together."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from audiocls.errors import DataError, LeakageError
from audiocls.params.run import SplitParams
from audiocls.sources.columns import SPLITS
from audiocls.splits.assignment import assign_splits
from audiocls.splits.copies import leave_out
from audiocls.splits.dropped import dropped_summary, read_dropped
from audiocls.splits.leakage import check_copies, check_near_duplicates
from audiocls.splits.units import make_units

INSTRUMENTS = ("clap", "hat", "kick", "snare")


def kits(splits: list[str | None], each: int = 20) -> pd.DataFrame:
    """Kits of `each` samples, the first of each a clap; those of kits 0 and the last are one recording."""
    rows = [
        (f"kit {k}", f"kit {k}/{i}", INSTRUMENTS[0 if i == 0 else 1 + i % 3], split)
        for k, split in enumerate(splits)
        for i in range(each)
    ]
    table = pd.DataFrame(rows, columns=["group", "clip_id", "label", "split"])
    return table.assign(audio_hash=table["clip_id"].replace(f"kit {len(splits) - 1}/0", "kit 0/0"))


NEAR = pd.DataFrame({"audio_hash_a": ["kit 0/1"], "audio_hash_b": ["kit 5/1"], "similarity": [0.9]})
GIVEN = ["train", "train", "train", "validation", "test", "test"]


@pytest.fixture
def assign(tmp_path):
    """A function that splits a table; returns the clips kept, those left out, and the path of the former."""

    def assigned(table, near=NEAR[:0], **params):
        path = tmp_path / "corpora" / "digest" / "clips.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        table.to_parquet(path)
        near.to_parquet(tmp_path / "near.parquet")
        made = assign_splits(path, SplitParams(**params), 0, tmp_path, None, tmp_path / "near.parquet")
        return pd.read_parquet(made), read_dropped(made), made

    return assigned


# Given splits


def test_dropping_leaves_out_the_copy_in_training_alone_and_the_test_stays_whole(assign):
    kept, dropped, made = assign(kits(GIVEN), duplicates="drop")
    assert dropped.values.tolist() == [
        ["kit 0/0", "clap", "kit 0", "train", "copy_across_splits", "shares sound with kit 5/0 (test)"]
    ]
    assert kept["clip_id"].tolist() == kits(GIVEN)["clip_id"].tolist()[1:]
    assert (kept["split"] == "test").sum() == 40
    assert dropped_summary(made).startswith("1 clip was left out of the split (1 copy_across_splits; 1 of train); see ")


def test_dropping_near_duplicates_leaves_out_the_one_in_training(assign):
    kept, dropped, _ = assign(kits(GIVEN), NEAR, duplicates="drop", near_duplicates="drop")
    assert sorted(dropped["clip_id"]) == ["kit 0/0", "kit 0/1"]
    assert (kept["split"] == "test").sum() == 40


@pytest.mark.parametrize(
    ("splits", "left"), [(["train", "test"], "train"), (["validation", "test"], "validation"), (SPLITS[:2], "train")]
)
def test_the_test_is_worth_most_and_training_least(splits, left):
    table = pd.DataFrame({"clip_id": splits, "audio_hash": "one", "split": splits})
    for order in (table, table[::-1]):
        out = leave_out(order)
        assert table.loc[out.index, "split"].tolist() == [left]


def test_a_training_clip_stays_whose_copies_in_validation_are_left_out_for_others():
    """b overlaps a and c, which share nothing: without it nothing is in two splits."""
    table = pd.DataFrame({"clip_id": list("abc"), "audio_hash": list("abc"), "split": ["test", "validation", "train"]})
    table = table.assign(recording_hash="r", start_sample=[0, 5, 12], num_samples=[10, 10, 10])
    assert leave_out(table)["detail"].to_dict() == {1: "shares sound with a (test)"}


def test_a_copy_of_a_segment_in_another_file_is_left_out_with_what_overlaps_it():
    table = pd.DataFrame(
        [
            ("test", "copy", "other file", 0, 10),
            ("train", "copy", "file", 50, 10),
            ("train", "overlapping", "file", 55, 10),
            ("train", "beside", "file", 60, 10),
        ],
        columns=["split", "audio_hash", "recording_hash", "start_sample", "num_samples"],
    )
    assert leave_out(table.assign(clip_id=list("abcd"))).index.tolist() == [1, 2]


def test_the_error_says_what_each_choice_costs_in_clips_groups_and_classes(assign):
    with pytest.raises(LeakageError) as told:
        assign(kits(["train", "train", "train", "train", "validation", "test"]))
    message = str(told.value)
    assert (
        "split.duplicates=drop drops 1 clip of 1 group and 1 class "
        "(train 80 -> 79, validation 20 -> 20, test 20 -> 20)" in message
    )
    assert (
        "split.duplicates=move moves to one split, preferably training, 20 clips of 1 group and 4 classes "
        "(train 80 -> 100, validation 20 -> 20, test 20 -> 0), and leaves no test clip of clap, hat, kick, snare"
        in message
    )


def test_the_error_on_near_duplicates_says_it_too(assign):
    with pytest.raises(LeakageError) as told:
        assign(kits(GIVEN), NEAR, duplicates="drop")
    assert "near_duplicates=drop drops 1 clip of 1 group and 1 class (train 59 -> 58," in str(told.value)
    assert "near_duplicates=move" in str(told.value)
    assert "test 40 -> 20" in str(told.value)


def test_a_class_that_would_lose_all_its_training_clips_is_an_error(assign):
    table = kits(GIVEN)
    table.loc[table["label"] == "clap", "audio_hash"] = "one clap"
    with pytest.raises(DataError, match="1 class has no training clips: clap"):
        assign(table, duplicates="drop")


any_clips = st.lists(
    st.tuples(st.sampled_from(SPLITS), st.sampled_from("AB"), st.integers(0, 30), st.integers(1, 8)), min_size=1
)
any_near = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=4)


@settings(max_examples=40, deadline=None)
@given(rows=any_clips, pairs=any_near)
def test_what_is_left_shares_no_sound_across_splits_and_what_is_left_out_does(rows, pairs):
    table = pd.DataFrame(rows, columns=["split", "recording_hash", "start_sample", "num_samples"])
    hashes = [f"{r.recording_hash}@{r.start_sample}+{r.num_samples}" for r in table.itertuples()]
    table = table.assign(audio_hash=hashes, clip_id=[str(i) for i in table.index], label="x", group="g")
    pairs = [(hashes[a % len(hashes)], hashes[b % len(hashes)], 0.9) for a, b in pairs]
    near = pd.DataFrame(pairs, columns=["audio_hash_a", "audio_hash_b", "similarity"])
    out = leave_out(table, near)
    kept = table.drop(out.index)
    check_copies(kept)
    check_near_duplicates(kept, near)
    assert kept.loc[table["split"].reindex(kept.index) == "test"].shape[0] == (table["split"] == "test").sum()
    if near.empty:  # each by itself is in the way of a clip that stays and is worth more
        for i in out.index:
            with pytest.raises(LeakageError):
                check_copies(table.loc[[*kept.index, i]])


# Made splits


def test_a_shared_jingle_does_not_chain_the_kits_of_a_made_split(assign, caplog):
    table = kits([None] * 12)
    table.loc[table["clip_id"].str.endswith("/0"), "audio_hash"] = "one jingle"
    table.loc[table["clip_id"].str.endswith("/3"), "label"] = "clap"
    kept, dropped, _ = assign(table)
    assert kept.groupby("group")["split"].nunique().max() == 1
    assert kept["split"].value_counts().reindex(SPLITS).min() >= 18
    assert set(dropped["reason"]) == {"copy_across_splits"}
    assert set(dropped["clip_id"]) < {f"kit {k}/0" for k in range(12)}
    assert "copies link 12 groups with 240 clips" in caplog.text
    assert "12 clips link them: kit 0/0, kit 1/0" in caplog.text


def test_a_small_unit_stays_together_and_loses_nothing(assign):
    kept, dropped, _ = assign(kits([None] * 40, each=4))
    assert dropped.empty
    assert kept[kept["group"].isin(["kit 0", "kit 39"])]["split"].nunique() == 1


def test_with_drop_no_groups_are_kept_together(assign):
    table = kits([None] * 40, each=4)
    units, _ = make_units(table, exact=False)
    assert units.tolist() == table["group"].tolist()
    kept, dropped, _ = assign(table, duplicates="drop")
    apart = kept.drop_duplicates("group").set_index("group")["split"]
    assert (apart["kit 0"] != apart["kit 39"]) == (len(dropped) == 1)


def test_groups_of_a_wide_unit_that_are_copies_in_the_main_stay_together():
    table = kits([None] * 6)
    table.loc[table["clip_id"].str.endswith("/0"), "audio_hash"] = "one jingle"
    twins = table["clip_id"].str.replace("kit 1/", "kit 2/")
    table["audio_hash"] = np.where(table["group"] == "kit 1", twins, table["audio_hash"])
    units, (wide,) = make_units(table)
    assert units[table["group"] == "kit 1"].unique().tolist() == units[table["group"] == "kit 2"].unique().tolist()
    assert units.nunique() == 5
    assert wide.apart
    assert len(wide.groups) == 6


def test_a_wide_unit_of_copies_of_each_other_is_told_and_drop_is_offered(assign, caplog):
    table = kits([None] * 14, each=10)
    table["audio_hash"] = table["clip_id"].str.replace("kit 1/", "kit 2/")
    _, dropped, _ = assign(table)
    assert dropped.empty
    assert "copies link 2 groups with 20 clips (kit 1, kit 2), which are copies of each other" in caplog.text
    assert "split.duplicates=drop" in caplog.text
