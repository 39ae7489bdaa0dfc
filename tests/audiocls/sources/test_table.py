from __future__ import annotations

import unicodedata
from collections import Counter

import fsspec
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings, strategies as st

from audiocls.errors import DataError
from audiocls.params.data import TableData
from audiocls.sources.columns import COLUMNS
from audiocls.sources.manifest import list_clips


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
    for odd in ("'dev' (2 rows)", "'' (1 row)", "'Test' (1 row)"):
        assert odd in message


def test_a_blank_path_is_named_by_its_row(root, list_rows, write_csv):
    path = write_csv(root, "path,label\na.wav,x\n,x\n  ,y\n")
    with pytest.raises(DataError, match="2 rows have no path: data rows 2, 3"):
        list_rows(table(path))


# URIs


@pytest.fixture
def memory_table():
    """A function that writes a table to fsspec's memory, which is empty again afterwards."""
    files = fsspec.filesystem("memory")

    def written(path, text):
        files.pipe_file(path, text if isinstance(text, bytes) else text.encode())
        return f"memory:/{path}"

    yield written
    files.store.clear()


def test_uris_in_a_table_are_passed_on_as_they_are(root, list_rows, write_csv):
    uris = ["s3://bucket/a b.wav", "memory://x/../a.wav", "file:///a.wav", "zip://a.wav::https://host/x.zip"]
    path = write_csv(root, "path,label\n" + "".join(f"{uri},x\n" for uri in uris))
    rows = list_rows(table(path))
    assert sorted(row["path"] for row in rows) == sorted(uris)
    assert all(row["clip_id"] == row["group"] == row["path"] for row in rows)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ".jsonl"])
def test_a_table_that_has_a_uri_is_read_and_its_paths_stand_beside_it(memory_table, list_rows, suffix):
    frame = pd.DataFrame({"path": ["sub/a.wav", "/else/b.wav", "s3://bucket/c.wav"], "label": ["07", "x", "y"]})
    content = {
        ".csv": lambda: frame.to_csv(index=False),
        ".tsv": lambda: frame.to_csv(index=False, sep="\t"),
        ".parquet": frame.to_parquet,
        ".jsonl": lambda: frame.to_json(orient="records", lines=True),
    }[suffix]()
    rows = list_rows(table(memory_table(f"/lab/clips{suffix}", content)))
    assert {row["clip_id"]: (row["path"], row["label"]) for row in rows} == {
        "sub/a.wav": ("memory://lab/sub/a.wav", "07"),
        "/else/b.wav": ("/else/b.wav", "x"),
        "s3://bucket/c.wav": ("s3://bucket/c.wav", "y"),
    }


def test_a_table_with_a_file_uri_is_the_local_one(root, list_rows, write_csv):
    path = write_csv(root, "path,label\na.wav,x\n")
    assert list_rows(table(f"file://{path}")) == list_rows(table(path))


def test_mistakes_in_a_table_that_has_a_uri_are_told(memory_table, list_rows):
    with pytest.raises(DataError, match=r"data\.path = memory://lab/none\.csv: no such file"):
        list_rows(table("memory://lab/none.csv"))
    uri = memory_table("/lab/clips.csv", "file,label\na,b\n")
    with pytest.raises(DataError, match=r"memory://lab/clips\.csv: no such column: data\.path_column = path"):
        list_rows(table(uri))
    with pytest.raises(DataError, match=r"a table must be .*, but this file has the suffix \.xlsx"):
        list_rows(table(memory_table("/lab/clips.xlsx", "PK")))


def test_uris_that_leave_the_folder_are_refused_where_they_must_not(root, memory_table, list_rows, write_csv):
    lines = ["a.wav", "sub/../b.wav", "../c.wav", "memory://lab/d.wav", "memory://other/e.wav", "/lab/f.wav"]
    text = "path,label\n" + "".join(f"{line},x\n" for line in lines)
    rows = list_rows(table(memory_table("/lab/clips.csv", text), stay_in_folder=True))
    assert {row["clip_id"]: row["path"] for row in rows if row["reason"] is None} == {
        "a.wav": "memory://lab/a.wav",
        "sub/../b.wav": "memory://lab/b.wav",
        "memory://lab/d.wav": "memory://lab/d.wav",
    }
    assert {row["reason"] for row in rows} == {None, "outside_folder"}
    local = write_csv(root, f"path,label\nfile://{root}/a.wav,x\nfile:///etc/passwd,x\ns3://bucket/a.wav,x\n")
    assert {row["clip_id"]: row["reason"] for row in list_rows(table(local, stay_in_folder=True))} == {
        f"file://{root}/a.wav": None,
        "file:///etc/passwd": "outside_folder",
        "s3://bucket/a.wav": "outside_folder",
    }


def test_a_password_in_a_path_is_in_no_name(root, list_rows, write_csv):
    path = write_csv(root, "path,label,from\nhttps://me:secret@host/a.wav,x,1\n")
    (row,) = list_rows(table(path, start_column="from"))
    assert row["path"] == "https://me:secret@host/a.wav"
    assert row["clip_id"] == "https://me:***@host/a.wav@1.00-end"
    assert row["group"] == "https://me:***@host/a.wav"


def test_white_space_around_a_path_is_kept_where_a_file_is_named_so(root, list_rows, write_csv, touch):
    touch(root, " sp.wav", "end.wav ", "a.wav")
    path = write_csv(root, "path,label\n sp.wav,x\nend.wav ,x\n a.wav ,x\n gone.wav,x\n")
    rows = list_rows(TableData(source="table", path=path))
    names = [" sp.wav", "a.wav", "end.wav ", "gone.wav"]
    assert [(row["clip_id"], row["path"]) for row in rows] == [(name, str(root / name)) for name in names]


COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD"))


@pytest.mark.parametrize(("written", "there"), [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED)])
def test_a_file_is_found_whichever_way_the_table_composes_its_name(root, list_rows, touch, write_csv, written, there):
    touch(root / there, f"{there}/{there} 1.wav", "b.wav")
    name = f"{written}/{written} 1.wav"
    path = write_csv(root / there, f"path,label,who\n{name},{written},{written}\n{name},{there},{there}\nb.wav,x,y\n")
    rows = list_rows(table(root / written / path.name, group_column="who", stay_in_folder=True))
    assert [(row["label"], row["group"]) for row in rows] == [("x", "y"), (COMPOSED, COMPOSED), (COMPOSED, COMPOSED)]
    assert {row["path"] for row in rows[1:]} == {str(root / there / there / f"{there} 1.wav")}
    assert {row["reason"] for row in rows} == {None}


def test_both_forms_of_a_file_name_are_two_files_and_stay_two(root, list_rows, touch, write_csv):
    touch(root, f"{COMPOSED}.wav", f"{DECOMPOSED}.wav")
    rows = list_rows(table(write_csv(root, f"path,label\n{COMPOSED}.wav,x\n{DECOMPOSED}.wav,y\n")))
    assert {(row["path"], row["label"]) for row in rows} == {
        (str(root / f"{COMPOSED}.wav"), "x"),
        (str(root / f"{DECOMPOSED}.wav"), "y"),
    }


def test_labels_that_look_alike_are_told_with_what_cannot_be_seen(root, list_rows, write_csv, caplog):
    list_rows(table(write_csv(root, "path,label\na,yes\nb,Yes\nc,no\nd,no\u200b\ne,maybe\n")))
    assert "'Yes' ~ 'yes', 'no' ~ 'no\\u200b'" in caplog.text


def test_an_odd_split_is_named_with_what_cannot_be_seen_in_it(root, list_rows, write_csv):
    path = write_csv(root, "path,label,part\na,x, train \nb,x,Train\nc,x,test\u200b\n")
    with pytest.raises(DataError, match=r"also holds 'Train' \(1 row\), 'test\\u200b' \(1 row\)"):
        list_rows(table(path, split_column="part"))
