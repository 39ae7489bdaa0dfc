from __future__ import annotations

import random

import fsspec
import pyarrow.parquet as pq
import pytest

from audiocls.params.data import FolderData, SampleData, TableData
from audiocls.sources.columns import COLUMNS, REFUSAL, SEGMENT
from audiocls.sources.manifest import list_clips


def folder(root, **options):
    return FolderData(source="folder", path=root, **options)


def table(path, **options):
    return TableData(source="table", path=path, **options)


def test_the_same_content_has_the_same_path_and_another_label_another(root, tmp_path, touch, write_csv):
    touch(root, "cat/a.wav", "dog/b.wav")
    first = list_clips(folder(root), tmp_path)
    assert list_clips(folder(root), tmp_path) == first
    by_table = write_csv(root, f"path,label,group\n{root}/cat/a.wav,cat,cat/a.wav\n")
    other = write_csv(root, f"path,label,group\n{root}/cat/a.wav,dog,cat/a.wav\n", "other.csv")
    paths = {list_clips(table(path, group_column="group"), tmp_path) for path in (by_table, other)}
    assert len({first, *paths}) == 3
    assert first.parent == tmp_path / "manifests"


def test_no_label_is_another_content_than_the_label_none(root, tmp_path, write_csv):
    paths = set()
    for label in ("", "None", "nan", "null"):
        paths.add(list_clips(table(write_csv(root, f"path,label\na.wav,{label}\n")), tmp_path))
    assert len(paths) == 4


def test_the_rows_of_a_table_may_come_in_any_order(root, tmp_path, write_csv):
    rows = [f"{'./' * (i % 2)}{i // 2}.wav,{i % 3}\n" for i in range(20)]
    first = list_clips(table(write_csv(root, "path,label\n" + "".join(rows))), tmp_path)
    random.Random(5).shuffle(rows)
    assert list_clips(table(write_csv(root, "path,label\n" + "".join(rows))), tmp_path) == first


def test_the_columns_are_the_same_even_where_they_are_empty(root, tmp_path, touch):
    touch(root, "a.wav")
    schema = pq.read_schema(list_clips(folder(root), tmp_path))
    assert schema.names == [*COLUMNS, *SEGMENT, *REFUSAL]
    assert {str(schema.field(name).type) for name in (*COLUMNS, *REFUSAL)} == {"string"}
    assert {str(schema.field(name).type) for name in SEGMENT} == {"double"}


def test_the_sample_corpus_is_listed_with_its_voices_as_groups(tmp_path, list_rows):
    pytest.importorskip("espeakng_loader", reason="espeak-ng is in an extra: pip install 'audiocls[sample]'")
    rows = list_rows(SampleData(source="sample", voices=3, clips=30, imbalance_ratio=1.0))
    assert len(rows) == 30
    assert len({row["label"] for row in rows}) == 10
    assert len({row["group"] for row in rows}) == 3


def test_names_that_are_composed_already_keep_the_manifest_of_earlier_versions(tmp_path):
    files = fsspec.filesystem("memory")
    for name in ("cat/a.wav", "dog/é 1.wav"):
        files.pipe(f"/steady/{name}", b"")
    lines = "path,label,who\ncat/a.wav,cat,ann\ndog/é 1.wav,chien é,bob\n"
    files.pipe("/steady/clips.csv", lines.encode())
    by_table = table("memory://steady/clips.csv", group_column="who")
    assert list_clips(folder("memory://steady"), tmp_path).stem == "2032fa599480993a"
    assert list_clips(by_table, tmp_path).stem == "ecc46fd348418451"
