from __future__ import annotations

import json
import os

import numpy as np
import pandas as pd
import pytest

from audiocls.errors import DataError
from audiocls.params import EventParams, FolderData, PoolData, SampleData, TableData
from audiocls.sources import by_label, class_names, event_windows, list_clips, targets_of


def table(path, **options):
    return TableData(source="table", path=path, labels="multi", **options)


def label_lists(rows):
    return {row["clip_id"]: (list(row["labels"]), list(row["unknown"]), row["label"]) for row in rows}


def test_a_cell_has_several_labels_one_or_none(root, list_rows, write_csv):
    path = write_csv(root, 'path,label\na.wav,"dog, car,dog"\nb.wav,cat\nc.wav,\n')
    assert label_lists(list_rows(table(path))) == {
        "a.wav": (["car", "dog"], [], "car + dog"),
        "b.wav": (["cat"], [], "cat"),
        "c.wav": ([], [], "(none)"),
    }


def test_labels_come_from_several_columns(root, list_rows, write_csv):
    path = write_csv(root, "path,first,second\na.wav,dog,car\nb.wav,,cat\nc.wav,,\n")
    found = label_lists(list_rows(table(path, label_columns=["first", "second"])))
    assert [labels for labels, _, _ in found.values()] == [["car", "dog"], ["cat"], []]


def test_a_column_per_class_says_yes_no_or_unknown(root, list_rows, write_csv):
    path = write_csv(root, "path,dog,cat\na.wav,1,0\nb.wav,,yes\nc.wav,0,no\nd.wav,,\n")
    assert label_lists(list_rows(table(path, class_columns=["dog", "cat"]))) == {
        "a.wav": (["dog"], [], "dog"),
        "b.wav": (["cat"], ["dog"], "cat"),
        "c.wav": ([], [], "(none)"),
        "d.wav": ([], ["cat", "dog"], None),  # nobody looked at it: quarantined as unlabelled
    }


def test_a_class_column_with_names_is_refused_with_its_row(root, list_rows, write_csv):
    path = write_csv(root, "path,dog\na.wav,1\nb.wav,poodle\n")
    with pytest.raises(DataError, match=r"data row 2 has 'poodle' in the column dog.*data.label_columns"):
        list_rows(table(path, class_columns=["dog"]))


def test_unknown_labels_have_a_column_and_contradict_none_that_is_given(root, list_rows, write_csv):
    path = write_csv(root, "path,label,maybe\na.wav,dog,cat;car\n")
    rows = list_rows(table(path, unknown_column="maybe", label_separator=";"))
    assert label_lists(rows) == {"a.wav": (["dog"], ["car", "cat"], "dog")}
    path = write_csv(root, "path,label,maybe\na.wav,dog,dog\n")
    with pytest.raises(DataError, match="1 rows have labels that maybe says are unknown: data rows 1"):
        list_rows(table(path, unknown_column="maybe"))


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_lists_are_read_as_lists(root, list_rows, suffix):
    rows = [{"path": "a.wav", "label": ["dog", "car"]}, {"path": "b.wav", "label": []}]
    path = root / f"clips{suffix}"
    if suffix == ".parquet":
        pd.DataFrame(rows).to_parquet(path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [list(row["labels"]) for row in list_rows(table(path))] == [["car", "dog"], []]


def test_a_listed_label_with_the_separator_is_not_split_in_silence(root, list_rows):
    path = root / "clips.jsonl"
    path.write_text(json.dumps({"path": "a.wav", "label": ["dog, large"]}) + "\n")
    with pytest.raises(DataError, match=r"'dog, large' contains ','.*data\.label_separator"):
        list_rows(table(path))
    rows = list_rows(table(path, label_separator="|"))
    assert [list(row["labels"]) for row in rows] == [["dog, large"]]


def test_links_into_several_class_directories_give_several_labels(root, list_rows, write_tone):
    write_tone(root / "dog/a.wav")
    (root / "car").mkdir()
    (root / "car/a-too.wav").symlink_to(root / "dog/a.wav")
    (root / "cat").mkdir()
    os.link(root / "dog/a.wav", root / "cat/z.wav")
    write_tone(root / "dog/b.wav", hz=300)
    write_tone(root / "nothing.wav", hz=200)
    rows = list_rows(FolderData(source="folder", path=root, labels="multi"))
    assert label_lists(rows) == {
        "car/a-too.wav": (["car", "cat", "dog"], [], "car + cat + dog"),
        "dog/b.wav": (["dog"], [], "dog"),
        "nothing.wav": ([], [], "(none)"),
    }


def test_the_name_of_a_file_gives_several_labels_and_a_file_without_them_is_unlabelled(root, list_rows, write_tone):
    for name in ("dog+car_1.wav", "cat_2.wav", "readme.wav"):
        write_tone(root / name)
    params = FolderData(
        source="folder", path=root, labels="multi", pattern=r"(?P<label>.+)_\d+\.wav", label_separator="+"
    )
    found = label_lists(list_rows(params))
    assert found["dog+car_1.wav"][0] == ["car", "dog"]
    assert found["readme.wav"] == ([], [], None)


def test_sources_of_a_pool_take_the_labels_of_the_pool(root, list_rows, write_csv, write_tone):
    write_tone(root / "folder/dog/a.wav")
    path = write_csv(root, 'path,label\nb.wav,"dog,car"\n')
    sources = {
        "one": FolderData(source="folder", path=root / "folder"),
        "two": TableData(source="table", path=path),
    }
    rows = list_rows(PoolData(source="pool", labels="multi", sources=sources))
    assert [list(row["labels"]) for row in rows] == [["dog"], ["car", "dog"]]


def test_events_label_the_windows_that_they_fill(root, list_rows, write_csv):
    text = "path,label,start,end\na.wav,dog,0.0,1.0\na.wav,car,0.5,6.0\na.wav,cat,2.9,3.2\nb.wav,,,\n"
    path = write_csv(root, text)
    params = EventParams(window_seconds=2.0, hop_seconds=2.0)
    rows = list_rows(table(path, start_column="start", end_column="end", events=params))
    assert [(row["clip_id"], list(row["labels"])) for row in rows] == [("a.wav", ["car", "cat", "dog"]), ("b.wav", [])]
    windows = list(event_windows(5.0, rows[0]["events"]))
    # The cat is heard within the second window, and the last window ends with the recording.
    assert windows == [(0, 2, ["car", "dog"]), (2, 4, ["car", "cat"]), (3, 5, ["car", "cat"])]


def test_an_event_without_a_label_is_not_lost_in_silence(root, list_rows, write_csv):
    path = write_csv(root, "path,label,start,end\na.wav,dog,0,1\na.wav,,2,3\n")
    rows = list_rows(table(path, start_column="start", end_column="end", events=EventParams()))
    assert [(row["clip_id"], row["reason"]) for row in rows] == [("a.wav", None), ("a.wav@2.00-3.00", "unlabelled")]
    assert [event["label"] for event in rows[0]["events"]["events"]] == ["dog"]


def test_events_of_one_recording_in_two_splits_are_refused(root, list_rows, write_csv):
    path = write_csv(root, "path,label,start,end,split\na.wav,dog,0,1,train\na.wav,cat,2,3,test\n")
    params = table(path, start_column="start", end_column="end", split_column="split", events=EventParams())
    with pytest.raises(DataError, match=r"1 recordings have events of more than one split: .*a.wav"):
        list_rows(params)


def test_targets_are_1_for_labels_nan_for_unknown_ones_and_0_for_others(root, list_rows, write_csv):
    path = write_csv(root, "path,dog,cat,car\na.wav,1,,0\nb.wav,0,0,0\nc.wav,0,1,1\n")
    clips = pd.DataFrame(list_rows(table(path, class_columns=["dog", "cat", "car"])))
    assert class_names(clips) == ["car", "cat", "dog"]
    targets = targets_of(clips, class_names(clips))
    np.testing.assert_array_equal(targets, np.float32([[0, np.nan, 1], [0, 0, 0], [1, 1, 0]]))
    assert by_label(clips)["label"].value_counts().to_dict() == {"dog": 1, "cat": 1, "car": 1}


def test_the_sample_corpus_mixes_up_to_three_digits_and_gives_some_clips_none(tmp_path):
    params = SampleData(source="sample", labels="multi", voices=12, clips=200, imbalance_ratio=4)
    clips = pd.read_parquet(list_clips(params, tmp_path))
    sizes = clips["labels"].map(len)
    assert sorted(sizes.unique()) == [0, 1, 2, 3]
    counts = by_label(clips)["label"].value_counts()
    assert len(counts) == 10
    assert counts["five"] > 2 * counts["nine"]
    assert clips["group"].nunique() == 4
