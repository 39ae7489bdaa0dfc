from __future__ import annotations

import logging
import os
import random
import unicodedata

import fsspec
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings, strategies as st

from audiocls.errors import DataError
from audiocls.params.data import FolderData
from audiocls.sources.listing import read_listing
from audiocls.sources.manifest import list_clips


def folder(root, **options):
    return FolderData(source="folder", path=root, **options)


def test_a_directory_is_a_class_however_deep_its_files_lie(root, list_rows, touch):
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
        "source": None,
        "start_seconds": None,
        "end_seconds": None,
        "reason": None,
        "detail": None,
    }


def test_files_of_one_directory_may_be_one_group(root, list_rows, touch):
    touch(root, "cat/tom/a.wav", "cat/tom/b.wav", "cat/c.wav")
    rows = list_rows(folder(root, group_by="folder"))
    assert {row["clip_id"]: row["group"] for row in rows} == {
        "cat/tom/a.wav": "cat/tom",
        "cat/tom/b.wav": "cat/tom",
        "cat/c.wav": "cat",
    }


def test_hidden_files_and_directories_are_left_out(root, list_rows, caplog, touch):
    touch(root, "cat/a.wav", "cat/.a.wav", "cat/.git/b.wav", ".trash/c.wav", ".DS_Store")
    assert [row["clip_id"] for row in list_rows(folder(root))] == ["cat/a.wav"]
    assert caplog.records == []


def test_files_that_are_no_recordings_are_left_out_and_told(root, list_rows, caplog, touch):
    touch(root, "cat/a.WAV", "cat/notes.txt", "README.md")
    with caplog.at_level(logging.WARNING, logger="audiocls.sources.manifest"):
        rows = list_rows(folder(root))
    assert [row["clip_id"] for row in rows] == ["cat/a.WAV"]
    (record,) = caplog.records
    assert record.getMessage() == (
        "2 files were left out because their suffix is not that of a recording and no glob of `include` ends in it: "
        "README.md, cat/notes.txt"
    )


def test_what_can_be_read_is_a_recording_by_its_name(root, list_rows, caplog, touch):
    suffixes = ("amr", "wv", "mka", "mp2", "sph", "3gp", "weba", "flac", "Voc")
    touch(root, *(f"cat/a.{suffix}" for suffix in suffixes))
    assert len(list_rows(folder(root))) == len(suffixes)
    assert caplog.records == []


@pytest.mark.parametrize(
    ("include", "taken"),
    [
        (["**/*.raw1"], ["cat/a.raw1", "cat/b.x.raw1"]),
        (["**/*.[rR][aA]?1"], ["cat/a.raw1", "cat/b.x.raw1"]),
        (["**", "cat/a.raw1"], ["cat/a.raw1", "cat/c.wav"]),
        (["cat/**"], ["cat/c.wav"]),
        (["**/*.*"], ["cat/c.wav"]),
    ],
)
def test_a_glob_that_names_a_suffix_overrules_what_recordings_are_called(root, list_rows, touch, include, taken):
    touch(root, "cat/a.raw1", "cat/b.x.raw1", "cat/c.wav", "cat/notes.txt")
    assert [row["clip_id"] for row in list_rows(folder(root, include=include))] == taken


def test_white_space_around_a_directory_is_no_part_of_the_class(root, list_rows, touch):
    touch(root, "yes/a.wav", "yes /b.wav", "  /c.wav")
    assert {row["clip_id"]: row["label"] for row in list_rows(folder(root))} == {
        "yes/a.wav": "yes",
        "yes /b.wav": "yes",
        "  /c.wav": None,
    }


def test_files_beside_the_class_directories_have_no_label(root, list_rows, touch):
    touch(root, "stray.wav", "cat/a.wav")
    assert {row["clip_id"]: row["label"] for row in list_rows(folder(root))} == {"cat/a.wav": "cat", "stray.wav": None}


def test_the_order_does_not_depend_on_the_order_of_creation(root, tmp_path, touch):
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


def test_a_class_directory_may_be_a_link(root, list_rows, tmp_path, touch):
    touch(tmp_path / "elsewhere", "a.wav")
    (root / "cat").symlink_to(tmp_path / "elsewhere")
    assert [(row["clip_id"], row["label"]) for row in list_rows(folder(root))] == [("cat/a.wav", "cat")]


def test_a_link_to_a_directory_above_does_not_go_round_in_circles(root, list_rows, touch):
    touch(root, "cat/a.wav")
    (root / "cat" / "back").symlink_to(root)
    (root / "cat" / "self").symlink_to(root / "cat")
    assert [row["clip_id"] for row in list_rows(folder(root))] == ["cat/a.wav"]


def test_a_name_that_no_table_can_hold_is_told(root, list_rows, touch):
    touch(root, "cat/a.wav")
    with open(os.fsencode(root) + b"/cat/caf\xe9.wav", "wb"):  # noqa: PTH123 - a Path holds no such name
        pass
    with pytest.raises(DataError, match=r"1 file name is not UTF-8.*rename them: 'cat/caf\\udce9\.wav'"):
        list_rows(folder(root))


def test_a_pattern_finds_label_and_group_in_the_path(root, list_rows, touch):
    touch(root, "ann/yes_1.wav", "ann/no_2.wav", "bob/deep/yes_1.wav")
    rows = list_rows(folder(root, pattern=r"(?P<group>\w+)/(?:.*/)?(?P<label>[a-z]+)_\d+\.wav"))
    assert [(row["clip_id"], row["label"], row["group"]) for row in rows] == [
        ("ann/no_2.wav", "no", "ann"),
        ("ann/yes_1.wav", "yes", "ann"),
        ("bob/deep/yes_1.wav", "yes", "bob"),
    ]


def test_a_pattern_without_a_group_leaves_each_file_or_folder_its_own(root, list_rows, touch):
    touch(root, "ann/yes_1.wav", "ann/no_2.wav")
    pattern = r".*/(?P<label>[a-z]+)_\d+\.wav"
    assert [row["group"] for row in list_rows(folder(root, pattern=pattern))] == ["ann/no_2.wav", "ann/yes_1.wav"]
    assert {row["group"] for row in list_rows(folder(root, pattern=pattern, group_by="folder"))} == {"ann"}


def test_a_file_that_does_not_match_is_a_row_without_a_label(root, list_rows, touch):
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
def test_globs_choose_the_files(root, list_rows, include, exclude, left, touch):
    touch(root, "a.wav", "x/a.wav", "x/b.flac", "x/y/a.wav")
    assert [row["clip_id"] for row in list_rows(folder(root, include=include, exclude=exclude))] == left


def test_what_the_globs_leave_out_is_not_warned_of_and_nothing_left_is_an_error(root, list_rows, caplog, touch):
    touch(root, "cat/a.wav", "cat/notes.txt")
    assert len(list_rows(folder(root, exclude=["**/*.txt"]))) == 1
    assert caplog.records == []
    with pytest.raises(DataError, match="no clips found"):
        list_rows(folder(root, include=["dog/**"]))


def test_a_directory_that_cannot_be_listed_is_not_passed_over(root, list_rows, touch, forbid):
    touch(root, "cat/a.wav", "dog/b.wav")
    forbid(root / "dog")
    with pytest.raises(DataError, match="dog: the directory cannot be listed: Permission denied"):
        list_rows(folder(root))


def test_a_folder_that_is_missing_empty_or_a_file_is_told(root, list_rows, tmp_path, write_csv):
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
def test_every_recording_is_listed_once_under_its_own_id(tmp_path_factory, names, touch):
    root = tmp_path_factory.mktemp("tree")
    files = {f"{name}.wav" for name in names}
    touch(root, *files)
    rows = pq.read_table(list_clips(folder(root), root.with_suffix(".w"))).to_pylist()
    assert [row["clip_id"] for row in rows] == sorted(files)
    assert all(row["path"] == str(root / row["clip_id"]) for row in rows)
    for row in rows:
        folder_name, slash, _ = row["clip_id"].partition("/")
        assert row["label"] == ((folder_name.strip() or None) if slash else None)


# A folder elsewhere


@pytest.fixture
def memory():
    """A function that makes files in fsspec's memory, which is empty again afterwards."""
    files = fsspec.filesystem("memory")

    def made(*paths):
        for path in paths:
            files.pipe_file(path, b"x")
        return files

    yield made
    files.store.clear()
    files.pseudo_dirs[:] = [""]


@pytest.mark.parametrize("uri", ["memory://lab/clips", "memory:///lab/clips/"])
def test_a_folder_may_be_a_uri_and_is_listed_by_the_same_rules(memory, list_rows, caplog, uri):
    names = [
        "dog/b.wav",
        "cat/tom/a.flac",
        "cat/.hidden.wav",
        ".git/a.wav",
        "cat/notes.txt",
        "stray.wav",
        "noise/a.wav",
    ]
    memory(*[f"/lab/clips/{name}" for name in names], "/lab/clips2/cat/a.wav")
    rows = list_rows(FolderData(source="folder", path=uri, exclude=["noise/**"]))
    assert [(row["clip_id"], row["label"], row["group"]) for row in rows] == [
        ("cat/tom/a.flac", "cat", "cat/tom/a.flac"),
        ("dog/b.wav", "dog", "dog/b.wav"),
        ("stray.wav", None, "stray.wav"),
    ]
    assert [row["path"] for row in rows] == [f"{uri.rstrip('/')}/{row['clip_id']}" for row in rows]
    assert "1 file was left out because its suffix is not that of a recording" in caplog.text
    assert "cat/notes.txt" in caplog.text


def test_a_pattern_works_below_a_uri_and_new_files_are_seen(memory, list_rows):
    memory("/lab/ann/yes_1.wav")
    params = FolderData(source="folder", path="memory://lab", pattern=r"(?P<group>\w+)/(?P<label>[a-z]+)_\d+\.wav")
    assert [(row["label"], row["group"]) for row in list_rows(params)] == [("yes", "ann")]
    memory("/lab/bob/no_1.wav")
    assert [(row["label"], row["group"]) for row in list_rows(params)] == [("yes", "ann"), ("no", "bob")]


def test_a_file_uri_lists_what_its_path_lists(root, list_rows, touch):
    touch(root, "cat/a.wav", "dog/b c.wav", "dog/.hidden.wav")
    (root / "cat" / "back").symlink_to(root)
    local = list_rows(folder(root))
    assert len(local) == 2
    assert list_rows(folder(f"file://{root}")) == local


def test_a_uri_that_is_no_folder_is_told(memory, list_rows):
    memory("/lab/a.wav")
    for uri in ("memory://none", "memory://lab/a.wav", "file:///no/such/folder"):
        with pytest.raises(DataError, match=r"no such directory\. It should contain one directory per class"):
            list_rows(folder(uri))


# Counted in, counted out


def rest_of(root, tmp_path, **options):
    return read_listing(list_clips(folder(root, **options), tmp_path))


def test_class_directories_without_a_recording_are_told(root, tmp_path, caplog, touch):
    touch(root, "cat/a.wav", "dog/a.wav", "hidden/.a.wav", "notes/a.txt", ".git/x", "__MACOSX/cat/._a.wav")
    (root / "empty" / "deep").mkdir(parents=True)
    assert rest_of(root, tmp_path).empty_classes == ("empty", "hidden", "notes")
    assert "class directories without any listed recording: empty, hidden, notes" in caplog.text


@pytest.mark.parametrize(
    ("options", "empty"),
    [
        ({"include": ["**/*.wav"]}, ("dog", "eel")),
        ({"include": ["cat/**", "eel/**"]}, ("eel",)),
        ({"exclude": ["dog/**", "eel/**"]}, ()),
        ({"exclude": ["**/dog/**"]}, ("eel",)),
        ({"exclude": ["**/*.flac"]}, ("dog", "eel")),
        ({"pattern": r"(?P<label>[^/]+)/.*"}, ()),
    ],
)
def test_a_class_that_globs_leave_out_by_its_name_is_meant_to_be(root, tmp_path, touch, options, empty):
    touch(root, "cat/tom/a.wav", "dog/rex/b.flac")
    (root / "eel").mkdir()
    assert rest_of(root, tmp_path, **options).empty_classes == empty


def test_what_is_not_listed_is_counted_by_its_reason(root, tmp_path, touch):
    touch(root, "cat/a.wav", "cat/.a.wav", ".DS_Store", "cat/notes.txt", "cat/b.flac")
    (root / "cat" / "up").symlink_to(root)
    left_out = rest_of(root, tmp_path, exclude=["**/*.flac"]).left_out
    assert left_out == {"hidden": 2, "filtered": 1, "other_suffix": 1, "links_to_above": 1}


def test_an_empty_class_below_a_uri_is_told_too(tmp_path):
    files = fsspec.filesystem("memory")
    for name in ("cat/a.wav", "cat/.b.wav"):
        files.pipe(f"/empties/{name}", b"")
    files.makedirs("/empties/dog")
    rest = rest_of("memory://empties", tmp_path)
    assert rest.empty_classes == ("dog",)
    assert rest.left_out["hidden"] == 1


def test_an_empty_class_makes_another_manifest_and_what_is_not_listed_does_not(root, tmp_path, touch):
    touch(root, "cat/a.wav", "dog/b.wav")
    first = list_clips(folder(root), tmp_path)
    touch(root, "cat/notes.txt", "cat/.hidden")
    assert list_clips(folder(root), tmp_path) == first
    (root / "eel").mkdir()
    assert list_clips(folder(root), tmp_path) != first


# Composed and decomposed letters


COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD"))


def test_both_forms_of_a_class_directory_are_one_class(root, list_rows, touch):
    touch(root, f"{COMPOSED}/a.wav", f"{DECOMPOSED}/b.wav", f"{DECOMPOSED}/a.wav")
    rows = list_rows(folder(root, group_by="folder"))
    assert {row["label"] for row in rows} == {row["group"] for row in rows} == {COMPOSED}
    assert [row["clip_id"] for row in rows] == [f"{COMPOSED}/a.wav", f"{COMPOSED}/a.wav#2", f"{COMPOSED}/b.wav"]
    assert {row["path"] for row in rows} == {str(path) for path in root.glob("*/*.wav")}


@pytest.mark.parametrize(("asked", "there"), [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED)])
def test_globs_patterns_and_the_folder_itself_are_compared_in_either_form(root, list_rows, touch, asked, there):
    touch(root / there, f"{there}/a.wav", f"{there}/b.wav", "tea/c.wav")
    found = list_rows(
        folder(root / asked, include=[f"{asked}/*"], exclude=[f"{asked}/b*"], pattern=f"(?P<label>{asked})/.*")
    )
    assert [(row["label"], row["path"]) for row in found] == [(COMPOSED, str(root / there / there / "a.wav"))]
