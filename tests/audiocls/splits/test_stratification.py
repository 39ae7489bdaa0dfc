from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from audiocls.sources.columns import SPLITS
from audiocls.splits.stratification import fold_groups, split_groups

SHARES = {"train": 0.7, "validation": 0.15, "test": 0.15}

# Any clips at all: few or many groups, each of one class or of several.
any_clips = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 5)), min_size=1, max_size=150)
fractions = st.tuples(st.floats(0.01, 0.45), st.floats(0.01, 0.45))
seeds = st.integers(0, 2**32 - 1)
untimed = settings(deadline=None)


def clips_of(rows, columns=("group", "label")):
    return pd.DataFrame(rows, columns=list(columns)).astype(str)


def split(clips, seed=0, test=SHARES["test"], validation=SHARES["validation"]):
    return split_groups(clips["group"], clips["label"], test, validation, seed)


def count(clips, made):
    return pd.crosstab(clips["label"], made).reindex(columns=list(SPLITS), fill_value=0)


def single_clip_groups(clips_per_class):
    return clips_of([(f"{label}-{i}", label) for label, clips in clips_per_class.items() for i in range(clips)])


def speakers(number, classes, clips_each, seed=0):
    """Speakers of `clips_each` clips on average, who say words of a long-tailed vocabulary."""
    rng = np.random.default_rng(seed)
    frequency = 10.0 ** -np.linspace(0, 1.5, classes)
    sizes = rng.poisson(clips_each - 1, number) + 1
    words = rng.choice(classes, sizes.sum(), p=frequency / frequency.sum())
    return clips_of({"group": np.repeat(np.arange(number), sizes), "label": words})


def test_splits_stay_those_of_earlier_versions():
    """Another split of the same corpus would make a model's test clips the next one's training clips."""
    clips = speakers(60, classes=5, clips_each=6)
    made = "".join(split(clips, 17).str[0])
    folds = "".join(map(str, fold_groups(clips["group"], clips["label"], 4, 17)))
    assert hashlib.sha256(made.encode()).hexdigest().startswith("42497d235fe52f08")
    assert hashlib.sha256(folds.encode()).hexdigest().startswith("dba763e8839cbd38")


# Whatever the clips


@given(rows=any_clips, shares=fractions, seed=seeds)
@untimed
def test_every_clip_gets_a_split_and_no_group_straddles(rows, shares, seed):
    clips = clips_of(rows)
    made = split(clips, seed, *shares)
    assert made.index.equals(clips.index)
    assert made.isin(SPLITS).all()
    assert (made.groupby(clips["group"]).nunique() == 1).all()


@given(rows=any_clips, seed=seeds, order=st.randoms(use_true_random=False))
@untimed
def test_a_seed_gives_one_split_whatever_the_order_of_the_rows(rows, seed, order):
    clips = clips_of(rows)
    shuffled = list(clips.index)
    order.shuffle(shuffled)
    pd.testing.assert_series_equal(split(clips.loc[shuffled], seed).sort_index(), split(clips, seed))


@given(rows=any_clips, shares=fractions, seed=seeds)
@untimed
def test_every_class_has_training_clips(rows, shares, seed):
    clips = clips_of(rows)
    assert (count(clips, split(clips, seed, *shares))["train"] > 0).all()


def test_another_seed_gives_another_split():
    clips = speakers(60, classes=4, clips_each=5)
    assert len({tuple(split(clips, seed)) for seed in range(5)}) == 5


# Shares


@given(clips_per_class=st.lists(st.integers(7, 200), min_size=1, max_size=6), seed=seeds)
@settings(max_examples=50, deadline=None)
def test_single_clip_groups_give_every_class_its_shares_to_within_two_clips(clips_per_class, seed):
    clips = single_clip_groups({f"class-{i}": number for i, number in enumerate(clips_per_class)})
    counts = count(clips, split(clips, seed))
    wanted = np.outer(counts.sum(axis=1), [SHARES[name] for name in SPLITS])
    assert np.abs(counts.to_numpy() - wanted).max() <= 2


@pytest.mark.parametrize("seed", range(3))
def test_speakers_of_many_words_give_every_word_its_share(seed):
    clips = speakers(300, classes=10, clips_each=10)
    counts = count(clips, split(clips, seed))
    shares = counts.div(counts.sum(axis=1), axis=0)
    assert (shares - pd.Series(SHARES)).abs().max().max() < 0.04
    assert np.abs(counts.sum() / counts.sum().sum() - pd.Series(SHARES)).max() < 0.01


@given(
    sizes=st.lists(st.lists(st.sampled_from([1, 1, 2, 3, 30, 300]), min_size=3, max_size=8), min_size=1, max_size=5),
    seed=seeds,
)
@untimed
def test_a_class_of_three_groups_is_in_all_three_splits_whatever_their_sizes(sizes, seed):
    clips = clips_of(
        [(f"{label}-{i}", label) for label, groups in enumerate(sizes) for i, n in enumerate(groups) for _ in range(n)]
    )
    assert (count(clips, split(clips, seed)) > 0).all().all()


@given(sizes=st.lists(st.sampled_from([1, 2, 10, 30]), min_size=3, max_size=10), classes=st.integers(1, 4), seed=seeds)
@untimed
def test_three_speakers_of_all_words_are_one_in_each_split(sizes, classes, seed):
    clips = clips_of([(speaker, word) for speaker, n in enumerate(sizes) for word in range(classes) for _ in range(n)])
    assert (count(clips, split(clips, seed)) > 0).all().all()


@pytest.mark.parametrize("seed", range(10))
def test_a_speaker_of_most_clips_is_trained_on(seed):
    clips = clips_of([("much", word) for word in "ab" * 90] + [(name, word) for name in "uvw" for word in "ab" * 5])
    assert set(split(clips, seed)[clips["group"] == "much"]) == {"train"}


@pytest.mark.parametrize("seed", range(10))
def test_a_word_of_one_large_speaker_is_learnt(seed):
    clips = clips_of(
        [("only", "rare"), *[("only", "common")] * 20, *[(str(i), "common") for i in range(30) for _ in range(3)]]
    )
    assert (count(clips, split(clips, seed))["train"] > 0).all()


def test_20_000_groups_are_split_to_the_clip():
    clips = single_clip_groups({"a": 12_000, "b": 6_000, "c": 2_000})
    counts = count(clips, split(clips))
    assert np.abs(counts.to_numpy() - np.outer(counts.sum(axis=1), [SHARES[name] for name in SPLITS])).max() <= 2


# Stability


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("clips", "most"),
    [
        (single_clip_groups({"a": 1_500, "b": 400, "c": 100}), 0.03),
        # Which speakers have to move depends on all of the others: there, hashes are moved more often.
        (speakers(300, classes=10, clips_each=10), 0.30),
    ],
    ids=["single clips", "speakers"],
)
def test_groups_keep_their_split_when_others_come_or_go(clips, most, seed):
    names = clips["group"].unique()
    stay = np.random.default_rng(seed).choice(names, int(0.9 * len(names)), replace=False)
    fewer = clips[clips["group"].isin(stay)]
    all_of_them, most_of_them = (part.groupby("group").first() for part in (clips, fewer))
    before = split(clips, seed).groupby(clips["group"]).first().reindex(most_of_them.index)
    after = split(fewer, seed).groupby(fewer["group"]).first()
    assert len(most_of_them) < len(all_of_them)
    assert (before != after).mean() <= most


def test_one_more_clip_in_a_class_moves_at_most_two_groups():
    clips = single_clip_groups({"a": 500, "b": 100})
    more = pd.concat([clips, clips_of([("new", "a")])], ignore_index=True)
    assert (split(more)[: len(clips)] != split(clips)).sum() <= 2
