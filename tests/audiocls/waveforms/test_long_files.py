"""Long files are stored block by block, as if they were read as a whole."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from audiocls import decoding
from audiocls.decoding import clip_files
from audiocls.params.run import AudioParams
from audiocls.waveforms import shards
from audiocls.waveforms.store import look_up, plan_store

CHANGED = ("unreadable", "the file changed while the store was filled; the next run reads it")


@pytest.fixture
def files(tmp_path, write_tone):
    """Three files, of which two have the same bytes."""
    tones = {"low": 200, "high": 300, "copy": 300}
    return [
        write_tone(tmp_path / "audio" / f"{name}.wav", hz, seconds=0.5, rate_hz=44_100) for name, hz in tones.items()
    ]


@pytest.fixture
def all_long(monkeypatch):
    """Every file counts as long, and none is read as a whole."""
    monkeypatch.setattr(clip_files, "LONG_BYTES", 0)
    monkeypatch.setattr(shards, "read_file", lambda found: pytest.fail(f"{found.path} was read as a whole"))


@pytest.fixture
def fill(tmp_path, list_table, fill_store):
    """A function that fills a store with some files, and returns the plan."""

    def filled(paths, name="workspace"):
        return fill_store(list_table(tmp_path / name, [(path, "x") for path in paths]), tmp_path / name)

    return filled


def table_of(plan):
    (path,) = (plan.store / "shards").iterdir()
    return pq.read_table(path)


def test_the_shard_is_the_same(fill, files, request):
    expected = table_of(fill(files))
    request.getfixturevalue("all_long")
    found = table_of(fill(files, "other"))
    assert len(found) == 2
    measures = ["rms_db", "dc_offset", "silence_fraction"]  # summed in another order
    assert found.drop_columns(measures).equals(expected.drop_columns(measures))
    for name in measures:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("step", ["hash_file", "decode_file"])
def test_a_file_that_changes_while_it_is_read_is_read_by_the_next_run(step, all_long, fill, files, monkeypatch):
    run = getattr(decoding, step)

    def changing(*arguments):
        made = run(*arguments)
        os.utime(files[0])
        return made

    monkeypatch.setattr(shards.decoding, step, changing)
    (row,) = look_up(fill(files[:1])).itertuples()
    assert (row.reason, row.detail) == CHANGED
    monkeypatch.setattr(shards.decoding, step, run)
    (row,) = look_up(fill(files[:1])).itertuples()
    assert pd.isna(row.reason)
    assert row.num_samples == 8_000


def test_a_file_that_goes_away_is_unreadable_in_this_run(all_long, tmp_path, list_table, files):
    plan = plan_store(list_table(tmp_path, [(path, "x") for path in files]), AudioParams(), tmp_path)
    files[0].unlink()
    for shard in plan.shards:
        shards.write_shard(shard, AudioParams())
    reasons = look_up(plan).set_index("path")["reason"].dropna()
    assert reasons.to_dict() == {str(files[0]): "unreadable"}
