"""Columns of a table that are kept as they are."""

from __future__ import annotations

import pandas as pd
import pyarrow.parquet as pq
import pytest

from audiocls.errors import DataError
from audiocls.params.data import FolderData, PoolData, TableData
from audiocls.sources.manifest import list_clips
from audiocls.waveforms.corpus import collect_corpus

ROWS = "path,label,who,device,label age\n/else/a.wav,yes,ann,phone,07\n/else/b.wav,no,bob,,7\n"
DIGEST = "3e8a92c9914c7fca"
"""Of the rows without their further columns, as it was before there was `data.columns`."""


def table(path, **options):
    return TableData(source="table", path=path, group_column="who", **options)


def test_without_columns_the_manifest_is_what_it_was(root, write_csv, tmp_path):
    path = write_csv(root, ROWS)
    plain = list_clips(table(path), tmp_path)
    assert plain.stem == DIGEST
    assert not [name for name in pq.read_schema(plain).names if name.startswith("column/")]
    assert list_clips(table(path, columns=["device"]), tmp_path).stem != DIGEST


def test_columns_reach_the_manifest_as_text_and_other_sources_of_a_pool_have_none(root, list_rows, write_csv, touch):
    path = write_csv(root, ROWS)
    touch(root, "folder/yes/c.wav")
    sources = {
        "named": table(path, columns=["device", "label age", "who"]),
        "plain": FolderData(source="folder", path=root / "folder"),
    }
    rows = list_rows(PoolData(source="pool", sources=sources))
    kept = [(row["column/device"], row["column/label age"], row["column/who"], row["label"]) for row in rows]
    assert kept == [("phone", "07", "ann", "yes"), (None, "7", "bob", "no"), (None, None, None, "yes")]


def test_columns_reach_the_corpus_and_change_nothing_else(root, write_csv, write_tone, fill_store, tmp_path):
    for number in range(3):
        write_tone(root / f"{number}.wav", 300 + 100 * number)
    path = write_csv(root, "path,label,who,device\n0.wav,yes,ann,phone\n1.wav,no,bob,\n2.wav,,bob,radio\n")
    found = []
    for options in ({}, {"columns": ["device"]}):
        manifest = list_clips(table(path, **options), tmp_path)
        found.append(collect_corpus(manifest, fill_store(manifest, tmp_path), tmp_path))
    plain, kept = found
    assert plain.digest == kept.digest
    clips = pd.read_parquet(kept.clips)
    assert clips["column/device"].fillna("").tolist() == ["phone", ""]
    assert pd.read_parquet(kept.quarantine)["column/device"].tolist() == ["radio"]
    pd.testing.assert_frame_equal(clips.drop(columns="column/device"), pd.read_parquet(plain.clips))


def test_a_recording_with_events_has_the_columns_of_its_first_row(root, list_rows, write_csv):
    text = "path,label,who,device,start,end\na.wav,x,ann,phone,0,1\na.wav,y,ann,radio,1,2\nb.wav,x,bob,,0,1\n"
    times = {"start_column": "start", "end_column": "end", "events": {"window_seconds": 1.0}}
    rows = list_rows(table(write_csv(root, text), labels="multi", columns=["device"], **times))
    assert [(row["clip_id"], row["column/device"]) for row in rows] == [("a.wav", "phone"), ("b.wav", None)]


def test_a_column_that_is_not_there_is_named_with_its_key(root, list_rows, write_csv):
    path = write_csv(root, ROWS)
    with pytest.raises(DataError, match=r"no such column: data\.columns\.1 = devise\."):
        list_rows(table(path, columns=["device", "devise"]))
