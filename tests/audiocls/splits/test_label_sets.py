from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st
from sklearn.model_selection import GroupShuffleSplit

from audiocls.errors import DataError
from audiocls.sources import SPLITS, by_label
from audiocls.sources.label_sets import with_label_sets
from audiocls.splits.assignment import check_classes
from audiocls.splits.folds import split_folds
from audiocls.splits.stratification import labels_to_stratify, split_groups

SHARES = np.array([0.7, 0.15, 0.15])
seeds = st.integers(0, 2**32 - 1)


def corpus(seed, groups=40, sets=50, labels=12):
    """Clips of groups that have some of 50 sets of none to three of 12 labels; the labels are long-tailed."""
    rng = np.random.default_rng(seed)
    names = np.array([f"label {i}" for i in range(labels)])
    frequency = 10.0 ** -np.linspace(0, 1.2, labels)
    sizes = rng.choice(4, sets, p=[0.05, 0.35, 0.35, 0.25])
    drawn = [rng.choice(names, size, replace=False, p=frequency / frequency.sum()) for size in sizes]
    rows, of = [], []
    for group in range(groups):
        own = rng.choice(sets, 4)
        for number in rng.choice(own, rng.poisson(5) + 1):
            rows.append(drawn[number].tolist())
            of.append(f"group {group}")
    return with_label_sets(pd.DataFrame({"group": of}), rows)


def counts(clips, made):
    labelled = by_label(clips.assign(split=made))
    return pd.crosstab(labelled["label"], labelled["split"]).reindex(columns=list(SPLITS), fill_value=0)


def deviation(clips, made):
    found = counts(clips, made)
    return float(np.abs(found.div(found.sum(axis=1), axis=0) - SHARES).to_numpy().mean())


@given(seed=seeds)
@settings(max_examples=30, deadline=None)
def test_no_group_straddles_and_every_label_of_three_groups_is_in_all_splits(seed):
    clips = corpus(seed)
    made = split_groups(clips["group"], labels_to_stratify(clips), 0.15, 0.15, seed)
    assert made.index.equals(clips.index)
    assert (made.groupby(clips["group"]).nunique() == 1).all()
    found = counts(clips, made)
    groups = by_label(clips).groupby("label")["group"].nunique()
    assert (found[groups >= 3] > 0).all().all()
    assert (found["train"] > 0).all()
    # Clips without a label are stratified like a label.
    none = clips["label"] == "(none)"
    if clips["group"][none].nunique() >= 3:
        assert set(made[none]) == set(SPLITS)


def test_labels_deviate_less_from_their_shares_than_in_a_plain_group_split():
    ours, plain = [], []
    for seed in range(20):
        clips = corpus(seed)
        ours.append(deviation(clips, split_groups(clips["group"], labels_to_stratify(clips), 0.15, 0.15, seed)))
        splitter = GroupShuffleSplit(1, test_size=0.3, random_state=seed)
        _, held_out = next(splitter.split(clips, groups=clips["group"]))
        rest = clips["group"].iloc[held_out]
        halves = GroupShuffleSplit(1, test_size=0.5, random_state=seed)
        validation, test = next(halves.split(rest, groups=rest))
        made = np.full(len(clips), "train", dtype=object)
        made[held_out[validation]], made[held_out[test]] = "validation", "test"
        plain.append(deviation(clips, made))
    assert np.mean(ours) < 0.65 * np.mean(plain)


@given(seed=seeds)
@settings(max_examples=10, deadline=None)
def test_folds_have_every_label_of_many_groups(seed):
    clips = corpus(seed).assign(split=None)
    clips["audio_hash"] = [f"{i}" for i in range(len(clips))]
    folds = split_folds(clips, 3, 0.2, seed)
    groups = by_label(clips).groupby("label")["group"].nunique()
    for number in range(3):
        assert (folds[number].groupby(clips["group"]).nunique() == 1).all()
        assert (counts(clips, folds[number]).loc[groups >= 9, "test"] > 0).all()


def test_labels_that_tell_no_clips_apart_are_refused():
    clips = with_label_sets(pd.DataFrame({"group": list("abc"), "split": list(SPLITS)}), [["a"], ["a"], ["a"]])
    with pytest.raises(DataError, match=r"all 3 usable clips have the labels a; .* a label that some clips have and"):
        check_classes(clips)
    clips = with_label_sets(pd.DataFrame({"group": list("abc"), "split": list(SPLITS)}), [["a"], [], ["a"]])
    check_classes(clips)
