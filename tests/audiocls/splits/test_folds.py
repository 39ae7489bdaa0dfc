from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from audiocls.errors import DataError
from audiocls.params.run import SplitParams
from audiocls.sources.columns import SPLITS
from audiocls.splits.assignment import assign_splits, ledger_of
from audiocls.splits.dropped import read_dropped
from audiocls.splits.folds import split_folds
from audiocls.splits.leakage import linked_groups

# Any clips at all: (group, label, recording), where a recording of another group links the two.
any_clips = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 4), st.integers(0, 300)), min_size=40, max_size=90)
seeds = st.integers(0, 2**32 - 1)
folds_asked = st.integers(2, 6)
quick = settings(deadline=None, max_examples=15)


def clips_of(rows):
    table = pd.DataFrame(rows, columns=["group", "label", "audio_hash"]).astype(str)
    return table.assign(split=None, clip_id=[f"{i}.wav" for i in range(len(table))])


def folds_of(clips, folds=5, seed=0, remembered=None):
    return split_folds(clips, folds, 0.2, seed, remembered)


def speakers(names, words=("a", "b", "c")):
    return clips_of([(name, word, f"{name}-{word}") for name in names for word in words])


def enough(clips, folds):
    return linked_groups(clips).nunique() >= folds


@given(rows=any_clips, folds=folds_asked, seed=seeds)
@quick
def test_every_clip_is_tested_in_one_fold_and_no_linked_group_straddles(rows, folds, seed):
    clips = clips_of(rows)
    if not enough(clips, folds):
        with pytest.raises(DataError, match=f"split.folds = {folds}, but the .* each fold needs a group"):
            folds_of(clips, folds, seed)
        return
    made = folds_of(clips, folds, seed)
    assert made.index.equals(clips.index)
    assert made.columns.tolist() == list(range(folds))
    assert made.isin(SPLITS).all().all()
    assert (made.eq("test").sum(axis=1) == 1).all()
    assert (made.groupby(linked_groups(clips)).nunique() == 1).all().all()
    assert made.eq("test").any().all()
    assert made.eq("train").any().all()


@given(rows=any_clips, more=any_clips, dropped=st.integers(0, 60), folds=folds_asked, seed=seeds)
@quick
def test_no_earlier_group_moves_in_any_fold_when_others_come_or_go(rows, more, dropped, folds, seed):
    first = clips_of([(group, label, f"{group}-{i}") for i, (group, label, _) in enumerate(rows)])
    later = clips_of([(group + 20, label, f"{group}+{i}") for i, (group, label, _) in enumerate(more)])
    if not enough(first, folds):
        return
    remembered: dict[str, str] = {}
    before = folds_of(first, folds, seed, remembered).groupby(first["group"]).first()
    clips = pd.concat([first[dropped:], later], ignore_index=True)
    after = folds_of(clips, folds, seed, remembered).groupby(clips["group"]).first()
    both = before.index.intersection(after.index)
    assert len(both)
    pd.testing.assert_frame_equal(after.loc[both], before.loc[both])
    # And those that went are remembered when they come back.
    again = folds_of(first, folds, seed, remembered).groupby(first["group"]).first()
    pd.testing.assert_frame_equal(again, before)


def test_without_a_ledger_few_groups_move_when_one_comes():
    names = [f"speaker {i}" for i in range(200)]
    before = folds_of(speakers(names))
    after = folds_of(speakers([*names, "new"]))[: len(before)]
    assert (before.eq("test") != after.eq("test")).any(axis=1).mean() < 0.05


@pytest.mark.parametrize("seed", range(3))
def test_folds_have_one_size_and_one_share_of_every_class(seed):
    rng = np.random.default_rng(seed)
    words = rng.choice(6, 3_000, p=[0.4, 0.25, 0.15, 0.1, 0.06, 0.04])
    clips = clips_of([(rng.integers(300), word, i) for i, word in enumerate(words)])
    made = folds_of(clips, seed=seed)
    counts = pd.DataFrame({i: clips["label"][made[i] == "test"].value_counts() for i in range(5)})
    assert np.abs(counts.div(counts.sum(axis=1), axis=0) - 0.2).max().max() < 0.03
    for fold in range(5):
        rest = clips["label"][made[fold] != "test"].value_counts()
        held_out = clips["label"][made[fold] == "validation"].value_counts()
        assert np.abs(held_out / rest - 0.2).max() < 0.04


def test_the_order_of_the_rows_changes_nothing_and_another_seed_much():
    clips = speakers([f"speaker {i}" for i in range(40)])
    made = folds_of(clips)
    shuffled = clips.sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(folds_of(shuffled).sort_index(), made)
    assert (folds_of(clips, seed=1).eq("test") != made.eq("test")).any(axis=1).mean() > 0.5


def test_what_a_fold_validates_on_is_trained_on_in_another():
    made = folds_of(speakers([f"speaker {i}" for i in range(50)]))
    assert made.eq("train").any(axis=1).all()


def test_a_new_copy_moves_no_group_and_is_left_out_where_it_would_straddle(tmp_path):
    clips = speakers([f"speaker {i}" for i in range(30)])
    path = tmp_path / "corpora" / "digest" / "clips.parquet"
    path.parent.mkdir(parents=True)

    def assigned(table, fold):
        table.to_parquet(path)
        params = SplitParams(folds=3, fold=fold)
        return assign_splits(path, params, 1, tmp_path, ledger_of("birds", params, 1, tmp_path))

    before = [pd.read_parquet(assigned(clips, fold)).set_index("clip_id")["split"] for fold in range(3)]
    one, other = (next(i for i in clips.index if before[fold][f"{i}.wav"] == "test") for fold in (0, 1))
    new = clips.loc[[one, other]].assign(audio_hash="a new copy", clip_id=["one.wav", "other.wav"])
    for fold in range(3):
        splits = assigned(pd.concat([clips, new], ignore_index=True), fold)
        after = pd.read_parquet(splits).set_index("clip_id")["split"]
        pd.testing.assert_series_equal(after[before[fold].index], before[fold])
        left_out = read_dropped(splits)
        kept = {"one.wav", "other.wav"} - set(left_out["clip_id"])
        assert after[list(kept)].nunique() == 1
        if fold < 2:  # one of them would be tested on, and the other one not
            assert left_out["clip_id"].tolist() == [["other.wav", "one.wav"][fold]]
            assert left_out["detail"].tolist() == [f"shares sound with {['one.wav', 'other.wav'][fold]} (test)"]


def test_a_given_split_is_refused():
    clips = speakers(["ann", "bob", "cid"])
    clips.loc[0, "split"] = "test"
    with pytest.raises(DataError, match=r"split.folds = 2, but the source gives the split of 1 clip"):
        folds_of(clips, 2)


def test_the_runs_of_a_cross_validation_share_a_ledger_and_test_every_clip_once(tmp_path):
    clips = tmp_path / "corpora" / "digest" / "clips.parquet"
    clips.parent.mkdir(parents=True)
    speakers([f"speaker {i}" for i in range(12)]).to_parquet(clips)
    tested = []
    for fold in range(3):
        params = SplitParams(folds=3, fold=fold)
        ledger = ledger_of("birds", params, 1, tmp_path)
        table = pd.read_parquet(assign_splits(clips, params, 1, tmp_path, ledger))
        assert set(table["split"]) == set(SPLITS)
        tested += table.loc[table["split"] == "test", "clip_id"].tolist()
    assert sorted(tested) == sorted(pd.read_parquet(clips)["clip_id"])
    assert len(list((tmp_path / "splits").glob("ledger-*.parquet"))) == 1
    remembered = pd.read_parquet(ledger)
    assert (remembered["split"].str.split().map(len) == 3).all()


def test_near_duplicates_are_in_one_fold():
    clips = speakers([f"s{i}" for i in range(30)])
    hashes = [f"s{i}-a" for i in range(30)]
    near = pd.DataFrame({"audio_hash_a": hashes[:10], "audio_hash_b": hashes[10:20]})
    fold = folds_of(clips).eq("test").idxmax(axis=1).groupby(clips["group"]).first()
    units = linked_groups(clips, near)
    together = split_folds(clips, 5, 0.2, 0, units=units).eq("test").idxmax(axis=1).groupby(clips["group"]).first()
    pairs = [(f"s{i}", f"s{i + 10}") for i in range(10)]
    assert any(fold[a] != fold[b] for a, b in pairs)
    assert all(together[a] == together[b] for a, b in pairs)
