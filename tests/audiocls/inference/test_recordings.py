from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audiocls.errors import DataError
from audiocls.inference.recordings import list_recordings

NAMES = ["a.wav", "b.FLAC", "deep/er/c.mp3", "notes.txt", ".hidden.wav", "no_suffix", "x.raw"]


@pytest.fixture
def folder(root, touch):
    touch(root, *NAMES)
    return root


def below(folder: Path, paths: list[str]) -> list[str]:
    return [Path(path).relative_to(folder).as_posix() for path in paths]


def test_a_folder_gives_the_recordings_below_it_and_counts_the_rest(folder):
    found = list_recordings([folder])
    assert below(folder, found.paths) == ["a.wav", "b.FLAC", "deep/er/c.mp3"]
    assert found.left_out == {"hidden": 1, "other_suffix": 3}


def test_a_file_is_taken_as_it_is_named_and_once(folder):
    given = [folder / "x.raw", folder / "none.wav", folder / "deep" / ".." / "x.raw", folder]
    found = list_recordings(given)
    assert [Path(path).name for path in found.paths] == ["x.raw", "none.wav", "a.wav", "b.FLAC", "c.mp3"]
    assert found.left_out == {"duplicate": 1, "hidden": 1, "other_suffix": 3}


def test_a_glob_gives_recordings_and_those_with_the_suffix_it_names(folder):
    assert below(folder, list_recordings([f"{folder}/**/*"]).paths) == ["a.wav", "b.FLAC", "deep/er/c.mp3"]
    assert below(folder, list_recordings([f"{folder}/*.raw"]).paths) == ["x.raw"]
    assert below(folder, list_recordings([f"{folder}/[ab].*"]).paths) == ["a.wav", "b.FLAC"]


def test_a_file_whose_name_looks_like_a_glob_is_itself(root, touch):
    touch(root, "a[1].wav", "a1.wav")
    assert below(root, list_recordings([root / "a[1].wav"]).paths) == ["a[1].wav"]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_a_table_gives_the_paths_of_a_column_from_its_own_folder_on(suffix, folder, tmp_path):
    table = folder / f"clips{suffix}"
    names = ["a.wav", str(folder / "b.FLAC"), "https://host/c.wav?token=secret"]
    match suffix:
        case ".parquet":
            pq.write_table(pa.table({"file": names}), table)
        case ".jsonl":
            table.write_text("".join(f'{{"file": "{name}"}}\n' for name in names))
        case _:
            table.write_text("file\n" + "\n".join(names) + "\n")
    assert list_recordings([table], "file").paths == [str(folder / "a.wav"), *names[1:]]
    with pytest.raises(DataError, match=r"no such column: --path-column = path\. Its columns: file"):
        list_recordings([table])


def test_uris_of_folders_globs_tables_and_files(folder):
    import fsspec

    files = fsspec.filesystem("memory")
    for name in ("clips/a.wav", "clips/deep/b.wav", "clips/notes.txt"):
        files.pipe(f"/{name}", b"")
    files.pipe("/list.csv", b"path\nclips/a.wav\n")
    listed = {
        given: list_recordings([given]).paths
        for given in ("memory://clips", "memory://clips/**", "memory://list.csv", "memory://clips/a.wav")
    }
    assert [path.rsplit("/", 1)[-1] for path in listed["memory://clips"]] == ["a.wav", "b.wav"]
    assert [path.rsplit("/", 1)[-1] for path in listed["memory://clips/**"]] == ["a.wav", "b.wav"]
    assert all(path.startswith("memory://") for paths in listed.values() for path in paths)
    assert len(listed["memory://list.csv"]) == len(listed["memory://clips/a.wav"]) == 1


def test_a_path_that_is_missing_in_a_table_is_a_mistake_with_its_row(root):
    (root / "clips.csv").write_text("path,label\na.wav,x\n,y\n")
    with pytest.raises(DataError, match=r"clips\.csv: 1 row has no path; the first is data row 2"):
        list_recordings([root / "clips.csv"])


def test_nothing_found_is_a_mistake_that_says_what_was_left_out(root, touch):
    touch(root, "notes.txt")
    with pytest.raises(DataError, match="no recordings found; left out: 1 other_suffix"):
        list_recordings([root])
