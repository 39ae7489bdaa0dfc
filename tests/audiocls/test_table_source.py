from __future__ import annotations

from collections import Counter

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiocls.columns import COLUMNS
from audiocls.errors import DataError
from audiocls.manifest import list_clips
from audiocls.params import TableData


def table(path, **options):
    return TableData(source="table", path=path, **options)


def test_a_csv_has_its_own_column_names_and_paths_from_its_own_folder(root, list_rows, write_csv):
    path = write_csv(root, "file,word,who,part,notes\nsub/a.wav,yes,ann,train,x\n/else/b.wav,no,bob,test,y\n")
    rows = list_rows(table(path, path_column="file", label_column="word", group_column="who", split_column="part"))
    assert [tuple(row[name] for name in COLUMNS[:5]) for row in rows] == [
        ("/else/b.wav", "/else/b.wav", "no", "bob", "test"),
        ("sub/a.wav", str(root / "sub/a.wav"), "yes", "ann", "train"),
    ]


def test_labels_that_look_like_something_else_stay_text(root, list_rows, write_csv):
    labels = ["07", "7", "1e3", "NA", "null", "nan", "true", "2026-01-01", "None"]
    path = write_csv(root, "path,label\n" + "".join(f"{i}.wav,{label}\n" for i, label in enumerate(labels)))
    assert [row["label"] for row in list_rows(table(path))] == labels


def test_a_blank_label_is_none_and_a_blank_group_is_the_file_itself(root, list_rows, write_csv):
    path = write_csv(root, "path,label,who\na.wav,,ann\nb.wav,  ,\n c.wav , yes , bob \n")
    assert [(row["clip_id"], row["label"], row["group"]) for row in list_rows(table(path, group_column="who"))] == [
        ("a.wav", None, "ann"),
        ("b.wav", None, "b.wav"),
        ("c.wav", "yes", "bob"),
    ]


def test_without_a_group_column_each_file_is_its_own_group(root, list_rows, write_csv):
    path = write_csv(root, "path,label\na.wav,x\na.wav,y\nb.wav,x\n")
    assert Counter(row["group"] for row in list_rows(table(path))) == {"a.wav": 2, "b.wav": 1}


def test_a_repeated_path_has_an_id_of_its_own_every_time(root, list_rows, write_csv):
    path = write_csv(root, "path,label\na.wav,x\na.wav#2,x\na.wav,y\na.wav,x\n")
    rows = list_rows(table(path))
    assert sorted(row["clip_id"] for row in rows) == ["a.wav", "a.wav#2", "a.wav#3", "a.wav#4"]
    assert Counter(row["path"] for row in rows)[str(root / "a.wav")] == 3


@settings(max_examples=30, deadline=None)
@given(names=st.lists(st.sampled_from(["a", "a#2", "a#2#2", "b", "a#3"]), min_size=1, max_size=12))
def test_ids_are_unique_whatever_the_paths(tmp_path_factory, names, write_csv):
    root = tmp_path_factory.mktemp("table")
    path = write_csv(root, "path,label\n" + "".join(f"{name},x\n" for name in names))
    ids = pq.read_table(list_clips(table(path), root))["clip_id"].to_pylist()
    assert len(set(ids)) == len(names)
    assert set(names) <= set(ids)


def test_paths_that_leave_the_folder_are_refused_where_they_must_not(root, list_rows, write_csv):
    inside = ["a.wav", "sub/../b.wav", f"{root}/c.wav", "..d.wav", f"{root}/../{root.name}/e.wav"]
    outside = ["../a.wav", "sub/../../b.wav", "/etc/passwd", f"{root}/../c.wav", f"{root}2/a.wav", ".."]
    path = write_csv(root, "path,label\n" + "".join(f"{name},x\n" for name in inside + outside))
    rows = list_rows(table(path, stay_in_folder=True))
    assert {row["clip_id"]: row["reason"] for row in rows} == dict.fromkeys(inside) | dict.fromkeys(
        outside, "outside_folder"
    )
    assert {row["detail"] for row in rows} == {None, f"leads out of {root}, and data.stay_in_folder is true"}
    assert all(row["path"].startswith(f"{root}/") and "/../" not in row["path"] for row in rows if not row["reason"])
    assert {row["reason"] for row in list_rows(table(path))} == {None}


def test_a_link_cannot_turn_a_way_back_into_a_way_out(root, list_rows, tmp_path, write_csv):
    (tmp_path / "else" / "where").mkdir(parents=True)
    (root / "link").symlink_to(tmp_path / "else" / "where")
    path = write_csv(root, "path,label\nlink/../b.wav,x\nlink/c.wav,x\n")
    rows = list_rows(table(path, stay_in_folder=True))
    assert [(row["path"], row["reason"]) for row in rows] == [
        (str(root / "b.wav"), None),
        (str(root / "link/c.wav"), None),
    ]


def test_odd_splits_are_named_with_their_counts(root, list_rows, write_csv):
    path = write_csv(root, "path,label,split\na,x,train\nb,x,dev\nc,x,dev\nd,x,\ne,x,Test\n")
    with pytest.raises(DataError) as caught:
        list_rows(table(path, split_column="split"))
    message = str(caught.value)
    assert message.startswith(f"{path}: the column split must hold train, validation or test in every row")
    for odd in ("'dev' (2 rows)", "'' (1 rows)", "'Test' (1 rows)"):
        assert odd in message


def test_a_blank_path_is_named_by_its_row(root, list_rows, write_csv):
    path = write_csv(root, "path,label\na.wav,x\n,x\n  ,y\n")
    with pytest.raises(DataError, match="2 rows have no path: data rows 2, 3"):
        list_rows(table(path))
