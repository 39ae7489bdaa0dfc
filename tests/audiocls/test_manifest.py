from __future__ import annotations

import logging
import os
import random
from collections import Counter

import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiocls.errors import DataError
from audiocls.manifest import COLUMNS, REFUSAL, list_clips
from audiocls.params import FolderData, SampleData, TableData


@pytest.fixture
def root(tmp_path):
    """An empty folder of recordings."""
    (tmp_path / "recordings").mkdir()
    return tmp_path / "recordings"


@pytest.fixture
def list_rows(tmp_path):
    """A function that lists a source and returns the manifest's rows as dicts."""

    def rows(params):
        return pq.read_table(list_clips(params, tmp_path / "workspace")).to_pylist()

    return rows


def folder(root, **options):
    return FolderData(source="folder", path=root, **options)


def table(path, **options):
    return TableData(source="table", path=path, **options)


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def write_csv(root, text, name="clips.csv"):
    (root / name).write_text(text, encoding="utf-8")
    return root / name


# A folder


def test_a_directory_is_a_class_however_deep_its_files_lie(root, list_rows):
    touch(root, "cat/a.wav", "cat/home/kitchen/b.flac", "dog/a.mp3")
    rows = list_rows(folder(root))
    assert [(row["clip_id"], row["label"]) for row in rows] == [
        ("cat/a.wav", "cat"),
        ("cat/home/kitchen/b.flac", "cat"),
        ("dog/a.mp3", "dog"),
    ]
    assert rows[0] == {
        "clip_id": "cat/a.wav",
        "path": str(root / "cat/a.wav"),
        "label": "cat",
        "group": "cat/a.wav",
        "split": None,
        "reason": None,
        "detail": None,
    }


def test_files_of_one_directory_may_be_one_group(root, list_rows):
    touch(root, "cat/tom/a.wav", "cat/tom/b.wav", "cat/c.wav")
    rows = list_rows(folder(root, group_by="folder"))
    assert {row["clip_id"]: row["group"] for row in rows} == {
        "cat/tom/a.wav": "cat/tom",
        "cat/tom/b.wav": "cat/tom",
        "cat/c.wav": "cat",
    }


def test_hidden_files_and_directories_are_left_out(root, list_rows, caplog):
    touch(root, "cat/a.wav", "cat/.a.wav", "cat/.git/b.wav", ".trash/c.wav", ".DS_Store")
    assert [row["clip_id"] for row in list_rows(folder(root))] == ["cat/a.wav"]
    assert caplog.records == []


def test_files_that_are_no_recordings_are_left_out_and_told(root, list_rows, caplog):
    touch(root, "cat/a.WAV", "cat/notes.txt", "README.md")
    with caplog.at_level(logging.WARNING, logger="audiocls.manifest"):
        rows = list_rows(folder(root))
    assert [row["clip_id"] for row in rows] == ["cat/a.WAV"]
    (record,) = caplog.records
    assert record.getMessage() == (
        "2 files are no recordings by their names and were left out: README.md, cat/notes.txt"
    )


def test_files_beside_the_class_directories_have_no_label(root, list_rows):
    touch(root, "stray.wav", "cat/a.wav")
    assert {row["clip_id"]: row["label"] for row in list_rows(folder(root))} == {"cat/a.wav": "cat", "stray.wav": None}


def test_the_order_does_not_depend_on_the_order_of_creation(root, tmp_path):
    names = [f"{label}/{i}.wav" for label in ("b", "a", "B", "ä") for i in (10, 9, 1)]
    touch(root, *names)
    first = list_clips(folder(root), tmp_path)
    for name in names:
        (root / name).unlink()
    random.Random(3).shuffle(names)
    touch(root, *names)
    assert list_clips(folder(root), tmp_path) == first
    ids = pq.read_table(first)["clip_id"].to_pylist()
    assert ids == sorted(names)


def test_a_class_directory_may_be_a_link(root, list_rows, tmp_path):
    touch(tmp_path / "elsewhere", "a.wav")
    (root / "cat").symlink_to(tmp_path / "elsewhere")
    assert [(row["clip_id"], row["label"]) for row in list_rows(folder(root))] == [("cat/a.wav", "cat")]


def test_a_link_to_a_directory_above_does_not_go_round_in_circles(root, list_rows):
    touch(root, "cat/a.wav")
    (root / "cat" / "back").symlink_to(root)
    (root / "cat" / "self").symlink_to(root / "cat")
    assert [row["clip_id"] for row in list_rows(folder(root))] == ["cat/a.wav"]


def test_a_name_that_no_table_can_hold_is_told(root, list_rows):
    touch(root, "cat/a.wav")
    with open(os.fsencode(root) + b"/cat/caf\xe9.wav", "wb"):  # noqa: PTH123 - a Path holds no such name
        pass
    with pytest.raises(DataError, match=r"1 file names are not UTF-8.*rename them: 'cat/caf\\udce9\.wav'"):
        list_rows(folder(root))


def test_a_pattern_finds_label_and_group_in_the_path(root, list_rows):
    touch(root, "ann/yes_1.wav", "ann/no_2.wav", "bob/deep/yes_1.wav")
    rows = list_rows(folder(root, pattern=r"(?P<group>\w+)/(?:.*/)?(?P<label>[a-z]+)_\d+\.wav"))
    assert [(row["clip_id"], row["label"], row["group"]) for row in rows] == [
        ("ann/no_2.wav", "no", "ann"),
        ("ann/yes_1.wav", "yes", "ann"),
        ("bob/deep/yes_1.wav", "yes", "bob"),
    ]


def test_a_pattern_without_a_group_leaves_each_file_or_folder_its_own(root, list_rows):
    touch(root, "ann/yes_1.wav", "ann/no_2.wav")
    pattern = r".*/(?P<label>[a-z]+)_\d+\.wav"
    assert [row["group"] for row in list_rows(folder(root, pattern=pattern))] == ["ann/no_2.wav", "ann/yes_1.wav"]
    assert {row["group"] for row in list_rows(folder(root, pattern=pattern, group_by="folder"))} == {"ann"}


def test_a_file_that_does_not_match_is_a_row_without_a_label(root, list_rows):
    touch(root, "ann/yes_1.wav", "ann/yes_1.wav.flac", "ann/_3.wav", "stray.wav")
    rows = list_rows(folder(root, pattern=r"(?P<group>\w+)/(?P<label>[a-z]*)_\d+\.wav"))
    assert {row["clip_id"]: (row["label"], row["group"]) for row in rows} == {
        "ann/yes_1.wav": ("yes", "ann"),
        "ann/yes_1.wav.flac": (None, "ann/yes_1.wav.flac"),
        "ann/_3.wav": (None, "ann"),
        "stray.wav": (None, "stray.wav"),
    }


@pytest.mark.parametrize(
    ("include", "exclude", "left"),
    [
        ([], [], ["a.wav", "x/a.wav", "x/b.flac", "x/y/a.wav"]),
        (["*.wav"], [], ["a.wav"]),
        (["**/*.wav"], [], ["a.wav", "x/a.wav", "x/y/a.wav"]),
        (["*/*.wav", "x/?.flac"], [], ["x/a.wav", "x/b.flac"]),
        (["x/**"], ["**/a.*"], ["x/b.flac"]),
        ([], ["x/*"], ["a.wav", "x/y/a.wav"]),
        ([], ["x/**", "[b-z].wav"], ["a.wav"]),
    ],
)
def test_globs_choose_the_files(root, list_rows, include, exclude, left):
    touch(root, "a.wav", "x/a.wav", "x/b.flac", "x/y/a.wav")
    assert [row["clip_id"] for row in list_rows(folder(root, include=include, exclude=exclude))] == left


def test_what_the_globs_leave_out_is_not_warned_of_and_nothing_left_is_an_error(root, list_rows, caplog):
    touch(root, "cat/a.wav", "cat/notes.txt")
    assert len(list_rows(folder(root, exclude=["**/*.txt"]))) == 1
    assert caplog.records == []
    with pytest.raises(DataError, match="no clips found"):
        list_rows(folder(root, include=["dog/**"]))


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind root")
def test_a_directory_that_cannot_be_listed_is_not_passed_over(root, list_rows):
    touch(root, "cat/a.wav", "dog/b.wav")
    (root / "dog").chmod(0)
    with pytest.raises(DataError, match="dog: the directory cannot be listed: Permission denied"):
        list_rows(folder(root))
    (root / "dog").chmod(0o755)


def test_a_folder_that_is_missing_empty_or_a_file_is_told(root, list_rows, tmp_path):
    with pytest.raises(DataError, match=f"{root}: no clips found"):
        list_rows(folder(root))
    for path in (tmp_path / "none", write_csv(tmp_path, "a")):
        with pytest.raises(DataError, match=f"data.path = {path}: no such directory"):
            list_rows(folder(path))


@settings(max_examples=25, deadline=None)
@given(
    names=st.sets(
        st.lists(st.text("ab#é ", min_size=1, max_size=3), min_size=1, max_size=3).map(lambda parts: "/".join(parts)),
        min_size=1,
        max_size=8,
    )
)
def test_every_recording_is_listed_once_under_its_own_id(tmp_path_factory, names):
    root = tmp_path_factory.mktemp("tree")
    files = {f"{name}.wav" for name in names}
    touch(root, *files)
    rows = pq.read_table(list_clips(folder(root), root.with_suffix(".w"))).to_pylist()
    assert [row["clip_id"] for row in rows] == sorted(files)
    assert all(row["path"] == str(root / row["clip_id"]) for row in rows)
    assert all(row["label"] == (row["clip_id"].split("/")[0] if "/" in row["clip_id"] else None) for row in rows)


# A table


def test_a_csv_has_its_own_column_names_and_paths_from_its_own_folder(root, list_rows):
    path = write_csv(root, "file,word,who,part,notes\nsub/a.wav,yes,ann,train,x\n/else/b.wav,no,bob,test,y\n")
    rows = list_rows(table(path, path_column="file", label_column="word", group_column="who", split_column="part"))
    assert [tuple(row[name] for name in COLUMNS) for row in rows] == [
        ("/else/b.wav", "/else/b.wav", "no", "bob", "test"),
        ("sub/a.wav", str(root / "sub/a.wav"), "yes", "ann", "train"),
    ]


def test_labels_that_look_like_something_else_stay_text(root, list_rows):
    labels = ["07", "7", "1e3", "NA", "null", "nan", "true", "2026-01-01", "None"]
    path = write_csv(root, "path,label\n" + "".join(f"{i}.wav,{label}\n" for i, label in enumerate(labels)))
    assert [row["label"] for row in list_rows(table(path))] == labels


def test_a_blank_label_is_none_and_a_blank_group_is_the_file_itself(root, list_rows):
    path = write_csv(root, "path,label,who\na.wav,,ann\nb.wav,  ,\n c.wav , yes , bob \n")
    assert [(row["clip_id"], row["label"], row["group"]) for row in list_rows(table(path, group_column="who"))] == [
        ("a.wav", None, "ann"),
        ("b.wav", None, "b.wav"),
        ("c.wav", "yes", "bob"),
    ]


def test_without_a_group_column_each_file_is_its_own_group(root, list_rows):
    path = write_csv(root, "path,label\na.wav,x\na.wav,y\nb.wav,x\n")
    assert Counter(row["group"] for row in list_rows(table(path))) == {"a.wav": 2, "b.wav": 1}


def test_a_repeated_path_has_an_id_of_its_own_every_time(root, list_rows):
    path = write_csv(root, "path,label\na.wav,x\na.wav#2,x\na.wav,y\na.wav,x\n")
    rows = list_rows(table(path))
    assert sorted(row["clip_id"] for row in rows) == ["a.wav", "a.wav#2", "a.wav#3", "a.wav#4"]
    assert Counter(row["path"] for row in rows)[str(root / "a.wav")] == 3


@settings(max_examples=30, deadline=None)
@given(names=st.lists(st.sampled_from(["a", "a#2", "a#2#2", "b", "a#3"]), min_size=1, max_size=12))
def test_ids_are_unique_whatever_the_paths(tmp_path_factory, names):
    root = tmp_path_factory.mktemp("table")
    path = write_csv(root, "path,label\n" + "".join(f"{name},x\n" for name in names))
    ids = pq.read_table(list_clips(table(path), root))["clip_id"].to_pylist()
    assert len(set(ids)) == len(names)
    assert set(names) <= set(ids)


def test_parquet_is_read_like_csv(root, list_rows):
    frame = pd.DataFrame(
        {
            "path": ["a.wav", "b.wav", "c.wav"],
            "label": pd.array([7, None, 8], dtype="Int64"),
            "group": pd.Categorical(["ann", None, "ann"]),
            "split": ["train", "test", "validation"],
        }
    )
    frame.to_parquet(root / "clips.parquet")
    rows = list_rows(table(root / "clips.parquet", group_column="group", split_column="split"))
    assert [tuple(row[name] for name in COLUMNS if name != "path") for row in rows] == [
        ("a.wav", "7", "ann", "train"),
        ("b.wav", None, "b.wav", "test"),
        ("c.wav", "8", "ann", "validation"),
    ]


def test_a_byte_order_mark_is_no_part_of_the_first_column(root, list_rows):
    (root / "clips.csv").write_bytes(b"\xef\xbb\xbfpath,label\r\na.wav,yes\r\n")
    assert [(row["clip_id"], row["label"]) for row in list_rows(table(root / "clips.csv"))] == [("a.wav", "yes")]


def test_a_cell_may_run_over_lines(root, list_rows):
    path = write_csv(root, 'path,label,text\na.wav,yes,"two\nlines, ""quoted"""\nb.wav,no,one\n')
    assert [row["label"] for row in list_rows(table(path))] == ["yes", "no"]


def write_table_as(path, frame):
    match path.suffix:
        case ".csv":
            frame.to_csv(path, index=False)
        case ".tsv":
            frame.to_csv(path, index=False, sep="\t")
        case ".parquet":
            frame.to_parquet(path)
        case _:
            frame.to_json(path, orient="records", lines=True)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ".jsonl", ".ndjson", ".TSV"])
def test_a_table_says_the_same_in_every_format(root, list_rows, suffix):
    frame = pd.DataFrame(
        {
            "path": ["a.wav", "ä b.wav", "c.wav"],
            "label": ["07", "2026-01-01", None],
            "group": ["ann", None, "ann"],
            "split": ["train", "test", "validation"],
            "text": ["one, two", "tab less", None],
        }
    )
    path = write_table_as(root / f"clips{suffix.lower()}", frame).rename(root / f"clips{suffix}")
    rows = list_rows(table(path, group_column="group", split_column="split"))
    assert [tuple(row[name] for name in ("clip_id", "path", "label", "group", "split")) for row in rows] == [
        ("a.wav", str(root / "a.wav"), "07", "ann", "train"),
        ("c.wav", str(root / "c.wav"), None, "ann", "validation"),
        ("ä b.wav", str(root / "ä b.wav"), "2026-01-01", "ä b.wav", "test"),
    ]


def test_a_quotation_mark_in_a_tsv_is_a_letter(root, list_rows):
    path = write_csv(root, 'path\tsentence\tlabel\na.wav\t"Ach", sprach er\tde\nb.wav\t"open\ten\n', "clips.tsv")
    assert [(row["clip_id"], row["label"]) for row in list_rows(table(path))] == [("a.wav", "de"), ("b.wav", "en")]


def test_json_lines_may_have_numbers_gaps_and_blank_lines(root, list_rows):
    lines = [
        '{"path": "a", "label": 7}',
        "",
        '{"label": "7", "path": "b"}',
        '{"path": "c"}',
        '{"path": "d", "label": NaN}',
    ]
    path = write_csv(root, "\ufeff" + "\r\n".join(lines), "clips.jsonl")
    assert [row["label"] for row in list_rows(table(path))] == ["7", "7", None, None]


def test_paths_that_leave_the_folder_are_refused_where_they_must_not(root, list_rows):
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


def test_a_link_cannot_turn_a_way_back_into_a_way_out(root, list_rows, tmp_path):
    (tmp_path / "else" / "where").mkdir(parents=True)
    (root / "link").symlink_to(tmp_path / "else" / "where")
    path = write_csv(root, "path,label\nlink/../b.wav,x\nlink/c.wav,x\n")
    rows = list_rows(table(path, stay_in_folder=True))
    assert [(row["path"], row["reason"]) for row in rows] == [
        (str(root / "b.wav"), None),
        (str(root / "link/c.wav"), None),
    ]


def test_columns_that_are_not_asked_for_are_not_read(root, list_rows):
    path = root / "clips.csv"
    path.write_bytes(b"path,label,note\na.wav,yes,caf\xe9\n")  # would not be UTF-8
    assert [row["label"] for row in list_rows(table(path))] == ["yes"]


def test_one_column_may_be_label_and_group(root, list_rows):
    for suffix in (".csv", ".parquet", ".jsonl"):
        path = write_table_as(root / f"clips{suffix}", pd.DataFrame({"path": ["a"], "label": ["x"]}))
        assert [(row["label"], row["group"]) for row in list_rows(table(path, group_column="label"))] == [("x", "x")]


def test_a_folder_named_like_a_partition_adds_no_column(root, list_rows):
    (root / "label=z").mkdir()
    path = write_table_as(root / "label=z" / "clips.parquet", pd.DataFrame({"path": ["a"], "label": ["x"]}))
    assert [row["label"] for row in list_rows(table(path))] == ["x"]


def test_missing_columns_are_all_named_with_those_that_are_there(root, list_rows):
    path = write_csv(root, "file;word\na.wav;yes\n")
    with pytest.raises(DataError) as caught:
        list_rows(table(path, group_column="who"))
    assert str(caught.value) == (
        f"{path}: no such column: data.path_column = path, data.label_column = label, data.group_column = who. "
        "Its columns: file;word."
    )


def test_a_column_name_given_twice_is_told_only_where_it_is_used(root, list_rows):
    path = write_csv(root, "path,label,label\na.wav,x,y\n")
    with pytest.raises(DataError, match=r"several columns have one name: data\.label_column = label"):
        list_rows(table(path))
    path = write_csv(root, "path,label,note,note\na.wav,x,y,z\n")
    assert len(list_rows(table(path))) == 1


def test_odd_splits_are_named_with_their_counts(root, list_rows):
    path = write_csv(root, "path,label,split\na,x,train\nb,x,dev\nc,x,dev\nd,x,\ne,x,Test\n")
    with pytest.raises(DataError) as caught:
        list_rows(table(path, split_column="split"))
    message = str(caught.value)
    assert message.startswith(f"{path}: the column split must hold train, validation or test in every row")
    for odd in ("'dev' (2 rows)", "'' (1 rows)", "'Test' (1 rows)"):
        assert odd in message


def test_a_blank_path_is_named_by_its_row(root, list_rows):
    path = write_csv(root, "path,label\na.wav,x\n,x\n  ,y\n")
    with pytest.raises(DataError, match="2 rows have no path: data rows 2, 3"):
        list_rows(table(path))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("clips.csv", b"path,label\n", "no clips found"),
        ("clips.csv", b"", "the table cannot be read: Empty CSV file"),
        ("clips.csv", b"path,label\na.wav,caf\xe9\n", "the table cannot be read: .*invalid UTF8 data"),
        ("clips.csv", b"path,label\na,b,c\n", "the table cannot be read: .*Expected 2 columns, got 3"),
        ("clips.parquet", b"PAR1 and no more PAR1", "the table cannot be read"),
        ("clips.xlsx", b"PK", r"a table is \.csv, \.tsv, \.parquet, \.jsonl or \.ndjson, and this one is \.xlsx"),
        ("clips", b"path,label\n", "and this one is none of them"),
        ("clips.tsv", b"path\tlabel\n", "no clips found"),
        ("clips.jsonl", b"\n", "no clips found"),
        ("clips.jsonl", b'{"path": "a", "label": "x"}\n{"path":', "line 2 is not valid JSON"),
        ("clips.jsonl", b'{"path": "caf\xe9"}\n', "line 1 is not valid JSON: .*can't decode byte"),
        ("clips.ndjson", b"[1]\n", "line 1 must be an object, and is list"),
        ("clips.jsonl", b'{"path": "a", "label": ["x"]}\n', "line 1: label holds list, and text is needed"),
        (
            "clips.jsonl",
            b'{"path": "a", "word": "x"}\n',
            "no such column: data.label_column = label. Its columns: path",
        ),
    ],
)
def test_a_file_that_is_no_table_is_told(root, list_rows, name, content, message):
    (root / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        list_rows(table(root / name))


def test_a_missing_table_and_a_folder_are_told(root, list_rows):
    for path in (root / "none.csv", root):
        with pytest.raises(DataError, match=f"data.path = {path}: no such file"):
            list_rows(table(path))


def test_a_column_that_is_no_text_is_told(root, list_rows):
    pd.DataFrame({"path": [{"bytes": 1}], "label": ["x"]}).to_parquet(root / "clips.parquet")
    with pytest.raises(DataError, match="the column path holds struct<bytes: int64>, and text is needed"):
        list_rows(table(root / "clips.parquet"))


# The manifest


def test_the_same_content_has_the_same_path_and_another_label_another(root, tmp_path):
    touch(root, "cat/a.wav", "dog/b.wav")
    first = list_clips(folder(root), tmp_path)
    assert list_clips(folder(root), tmp_path) == first
    by_table = write_csv(root, f"path,label,group\n{root}/cat/a.wav,cat,cat/a.wav\n")
    other = write_csv(root, f"path,label,group\n{root}/cat/a.wav,dog,cat/a.wav\n", "other.csv")
    paths = {list_clips(table(path, group_column="group"), tmp_path) for path in (by_table, other)}
    assert len({first, *paths}) == 3
    assert first.parent == tmp_path / "manifests"


def test_no_label_is_another_content_than_the_label_none(root, tmp_path):
    paths = set()
    for label in ("", "None", "nan", "null"):
        paths.add(list_clips(table(write_csv(root, f"path,label\na.wav,{label}\n")), tmp_path))
    assert len(paths) == 4


def test_the_rows_of_a_table_may_come_in_any_order(root, tmp_path):
    rows = [f"{i}.wav,{i % 3}\n" for i in range(20)]
    first = list_clips(table(write_csv(root, "path,label\n" + "".join(rows))), tmp_path)
    random.Random(5).shuffle(rows)
    assert list_clips(table(write_csv(root, "path,label\n" + "".join(rows))), tmp_path) == first


def test_every_column_is_text_even_where_it_is_empty(root, tmp_path):
    touch(root, "a.wav")
    schema = pq.read_schema(list_clips(folder(root), tmp_path))
    assert schema.names == [*COLUMNS, *REFUSAL]
    assert {str(kind) for kind in schema.types} == {"string"}


def test_the_sample_corpus_is_listed_with_its_voices_as_groups(tmp_path, list_rows):
    pytest.importorskip("espeakng_loader", reason="espeak-ng is in an extra: pip install 'audiocls[sample]'")
    rows = list_rows(SampleData(source="sample", voices=3, clips=30, imbalance_ratio=1.0))
    assert len(rows) == 30
    assert len({row["label"] for row in rows}) == 10
    assert len({row["group"] for row in rows}) == 3
