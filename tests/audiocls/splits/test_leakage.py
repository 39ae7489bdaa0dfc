from __future__ import annotations

import logging

import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from audiocls.errors import LeakageError
from audiocls.splits.leakage import (
    check_copies,
    check_disjoint,
    check_near_duplicates,
    linked_groups,
    move_copies,
    overlaps,
    report_label_conflicts,
)

COLUMNS = ["clip_id", "group", "audio_hash", "label", "split"]


def table(*rows) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=COLUMNS)


CHAIN = table(
    ("1.wav", "ann", "A", "x", "train"),
    ("2.wav", "bob", "A", "x", "validation"),  # a copy links bob to ann
    ("3.wav", "bob", "B", "x", "validation"),
    ("4.wav", "cyd", "B", "x", "test"),  # and another one cyd to both
    ("5.wav", "dee", "C", "x", "test"),
)


def test_groups_with_a_recording_in_common_count_as_one():
    assert linked_groups(CHAIN).tolist() == ["ann", "ann", "ann", "ann", "dee"]


def test_groups_without_copies_stay_themselves():
    clips = table(*[(f"{i}.wav", f"g{i % 3}", f"hash {i}", "x", "train") for i in range(9)])
    assert linked_groups(clips).tolist() == clips["group"].tolist()


def test_a_copy_across_splits_stops_the_run_and_is_named():
    with pytest.raises(LeakageError, match=r"2 recordings .* 1\.wav \(train\) = 2\.wav \(validation\)"):
        check_copies(CHAIN)


def test_copies_are_a_leak_across_splits_and_none_within_one():
    assert check_copies(CHAIN.assign(split="train")) is None
    with pytest.raises(LeakageError):
        check_copies(CHAIN.assign(split=["train", "test", *["train"] * 3]))


def test_moving_takes_all_that_is_linked_into_training_and_leaves_no_leak(caplog):
    moved = move_copies(CHAIN)
    assert moved.tolist() == ["train", "train", "train", "train", "test"]
    assert "3 clips were moved" in caplog.text
    check_copies(CHAIN.assign(split=moved))
    check_disjoint(CHAIN.assign(split=moved))


def test_nothing_is_moved_where_there_are_no_copies(caplog):
    clips = CHAIN.assign(audio_hash=list("ABCDE"), group=list("abcde"))
    assert move_copies(clips).tolist() == clips["split"].tolist()
    assert caplog.text == ""


NEAR = pd.DataFrame([("B", "C", 0.93), ("C", "elsewhere", 0.8)], columns=["audio_hash_a", "audio_hash_b", "similarity"])


def test_near_duplicates_link_groups_as_copies_do():
    assert set(linked_groups(CHAIN, NEAR)) == {"ann"}
    assert linked_groups(CHAIN, NEAR[1:]).tolist() == linked_groups(CHAIN).tolist()


def test_near_duplicates_across_splits_stop_the_run_with_their_similarity_and_a_way_out():
    with pytest.raises(
        LeakageError, match=r"1 pair .* 3\.wav \(validation\) ~ 5\.wav \(test\), similarity 0\.93"
    ) as told:
        check_near_duplicates(CHAIN[CHAIN["clip_id"] != "4.wav"], NEAR)
    assert "split.near_duplicates=ignore" in str(told.value)
    check_near_duplicates(CHAIN.assign(split="test"), NEAR)


def test_moving_takes_near_duplicates_along():
    moved = move_copies(CHAIN, NEAR)
    assert set(moved) == {"train"}
    check_near_duplicates(CHAIN.assign(split=moved), NEAR)


def test_a_straddling_group_is_named_with_its_counts():
    with pytest.raises(LeakageError, match=r"'ann' \(1 in test, 1 in train\)"):
        check_disjoint(table(("1", "ann", "A", "x", "train"), ("2", "ann", "B", "x", "test")))


def test_one_recording_under_two_labels_is_reported(caplog):
    with caplog.at_level(logging.WARNING):
        report_label_conflicts(table(("1", "a", "A", "cat", "train"), ("2", "b", "A", "dog", "train")))
    assert "1 recording has several labels: 1 (cat) = 2 (dog)" in caplog.text


# Overlaps


def stretches(*rows) -> pd.DataFrame:
    """Clips of (recording, start, length, group, split), each with sound of its own."""
    clips = pd.DataFrame(rows, columns=["recording_hash", "start_sample", "num_samples", "group", "split"])
    ids = [f"{row.recording_hash}@{row.start_sample}" for row in clips.itertuples()]
    return clips.assign(clip_id=ids, audio_hash=[f"hash {i}" for i in range(len(clips))], label="x")


TALK = stretches(
    ("A", 0, 100, "ann", "train"),
    ("A", 100, 50, "bob", "test"),  # touches what is before it, and shares no sample
    ("B", 60, 10, "cyd", "test"),
    ("B", 0, 65, "dee", "train"),
    ("B", 69, 30, "eve", "validation"),
    ("B", 99, 5, "fay", "test"),
)


def test_clips_that_overlap_share_a_stretch_in_whatever_order_they_come():
    for order in (TALK, TALK.sample(frac=1, random_state=3), TALK[::-1]):
        numbers = overlaps(order).loc[TALK.index]
        assert [sum(numbers == n) for n in numbers] == [1, 1, 3, 3, 3, 1]


def test_a_clip_inside_a_longer_one_overlaps_what_the_longer_one_does():
    numbers = overlaps(stretches(("A", 0, 100, "a", "x"), ("A", 10, 5, "b", "x"), ("A", 50, 10, "c", "x")))
    assert numbers.nunique() == 1


def test_overlaps_link_groups_and_stop_the_run():
    assert linked_groups(TALK).tolist() == ["ann", "bob", "cyd", "cyd", "cyd", "fay"]
    with pytest.raises(LeakageError, match=r"1 stretch .* B@60 \(test\) \+ B@0 \(train\) \+ B@69 \(validation\)"):
        check_copies(TALK)
    moved = move_copies(TALK)
    assert moved.tolist() == ["train", "test", "train", "train", "train", "test"]
    check_copies(TALK.assign(split=moved))


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.sampled_from("AB"), st.integers(0, 30), st.integers(1, 8), st.sampled_from("pqrs")), min_size=1
    )
)
def test_no_two_clips_that_share_a_sample_are_left_in_different_units(rows):
    table = stretches(*[(*row, "train") for row in rows])
    units = linked_groups(table)
    taken: dict[tuple[str, int], str] = {}
    for row, unit in zip(table.itertuples(), units, strict=True):
        for sample in range(row.start_sample, row.start_sample + row.num_samples):
            assert taken.setdefault((row.recording_hash, sample), unit) == unit
    assert (units.groupby(table["group"]).nunique() == 1).all()
