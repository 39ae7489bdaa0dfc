from __future__ import annotations

import logging

import pandas as pd
import pytest

from audiocls.errors import LeakageError
from audiocls.leakage import (
    check_copies,
    check_disjoint,
    check_near_duplicates,
    linked_groups,
    move_copies,
    report_label_conflicts,
)

COLUMNS = ["clip_id", "group", "audio_sha256", "label", "split"]


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


def test_copies_within_a_split_are_no_leak():
    check_copies(CHAIN.assign(split="train"))


def test_moving_takes_all_that_is_linked_into_training_and_leaves_no_leak(caplog):
    moved = move_copies(CHAIN)
    assert moved.tolist() == ["train", "train", "train", "train", "test"]
    assert "3 clips were moved" in caplog.text
    check_copies(CHAIN.assign(split=moved))
    check_disjoint(CHAIN.assign(split=moved))


def test_nothing_is_moved_where_there_are_no_copies(caplog):
    clips = CHAIN.assign(audio_sha256=list("ABCDE"), group=list("abcde"))
    assert move_copies(clips).tolist() == clips["split"].tolist()
    assert caplog.text == ""


NEAR = pd.DataFrame(
    [("B", "C", 0.93), ("C", "elsewhere", 0.8)], columns=["audio_sha256_a", "audio_sha256_b", "similarity"]
)


def test_near_duplicates_link_groups_as_copies_do():
    assert set(linked_groups(CHAIN, NEAR)) == {"ann"}
    assert linked_groups(CHAIN, NEAR[1:]).tolist() == linked_groups(CHAIN).tolist()


def test_near_duplicates_across_splits_stop_the_run_with_their_similarity_and_a_way_out():
    with pytest.raises(
        LeakageError, match=r"1 pairs .* 3\.wav \(validation\) ~ 5\.wav \(test\), similarity 0\.93"
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
    assert "1 recordings have several labels: 1 (cat) = 2 (dog)" in caplog.text
