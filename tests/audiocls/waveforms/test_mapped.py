from __future__ import annotations

import os

import numpy as np
import pandas as pd
import pytest

from audiocls.decoding.recording import FULL_SCALE, decode
from audiocls.errors import StoreError
from audiocls.params.run import AudioParams
from audiocls.waveforms.mapped import MappedWaveforms, unpack_shard
from audiocls.waveforms.store import look_up


@pytest.fixture
def fill(tmp_path, list_table, fill_store):
    """A function that fills the store with some files, and returns the store and a row a file, in their order."""

    def filled(*paths):
        plan = fill_store(list_table(tmp_path, [(path, "x") for path in paths]), tmp_path)
        return plan.store, look_up(plan).set_index("path").loc[[str(path) for path in paths]].reset_index()

    return filled


@pytest.fixture
def files(tmp_path, write_tone):
    """Tones of three lengths."""
    return [write_tone(tmp_path / f"{hz}.wav", hz, seconds=hz / 2_000) for hz in (200, 300, 400)]


def signal(path):
    recording = decode(path.read_bytes(), AudioParams())
    return recording.samples.astype(np.float32) * np.float32(recording.scale / FULL_SCALE)


def test_every_clip_reads_as_it_was_decoded(fill, files):
    store, clips = fill(*files)
    mapped = MappedWaveforms(clips, store)
    assert len(mapped) == 3
    assert mapped.num_samples.tolist() == [1_600, 2_400, 3_200]
    for index, path in enumerate(files):
        waveform = mapped.read(index)
        assert waveform.dtype == np.float32
        np.testing.assert_array_equal(waveform, signal(path))


def test_clips_in_several_shards_and_in_any_order_read_right(fill, files):
    fill(files[2])
    fill(files[0])
    store, clips = fill(files[1], files[2], files[0])
    assert clips["shard"].nunique() == 3
    mapped = MappedWaveforms(clips, store)
    for index, path in enumerate((files[1], files[2], files[0])):
        np.testing.assert_array_equal(mapped.read(index), signal(path))


def test_a_broken_clip_between_two_good_ones_shifts_nothing(fill, files, tmp_path):
    (tmp_path / "broken.wav").write_text("no audio")
    store, clips = fill(files[0], tmp_path / "broken.wav", files[1])
    mapped = MappedWaveforms(clips[clips["reason"].isna()], store)
    np.testing.assert_array_equal(mapped.read(1), signal(files[1]))


def test_a_clip_beyond_full_scale_comes_back_as_loud(fill, tmp_path, tone, encode):
    loud = tone(440, peak=5.0)
    (tmp_path / "loud.wav").write_bytes(encode(loud, subtype="FLOAT"))
    store, clips = fill(tmp_path / "loud.wav")
    np.testing.assert_allclose(MappedWaveforms(clips, store).read(0), loud, atol=5 / FULL_SCALE)


@pytest.mark.parametrize(
    ("start", "stop"), [(0, 100), (100, 200), (1_500, 9_999), (1_600, 1_700), (0, 0), (9_999, None), (-100, None)]
)
def test_a_slice_is_the_slice_of_the_whole_and_never_of_a_neighbour(fill, files, start, stop):
    store, clips = fill(*files)
    mapped = MappedWaveforms(clips, store)
    for index, path in enumerate(files):
        np.testing.assert_array_equal(mapped.read(index, start, stop), signal(path)[start:stop])


def test_a_clip_read_into_an_array_is_the_clip(fill, files):
    store, clips = fill(*files)
    mapped = MappedWaveforms(clips, store)
    array = np.full((3, 1_500), np.nan, np.float32)
    for index, row in enumerate(array):
        mapped.read_into(row, index, 100)
        np.testing.assert_array_equal(row, mapped.read(index, 100, 1_600))


def test_samples_are_mapped_and_not_loaded(fill, files):
    store, clips = fill(*files)
    mapped = MappedWaveforms(clips, store)
    shard = mapped._shards[0]
    assert not shard.flags.owndata
    assert not shard.flags.writeable
    assert shard.size == sum(mapped.num_samples)


def test_what_was_read_may_be_changed_without_touching_the_store(fill, files):
    store, clips = fill(*files)
    mapped = MappedWaveforms(clips, store)
    mapped.read(0)[:] = 0
    np.testing.assert_array_equal(mapped.read(0), signal(files[0]))


def test_no_clips_are_no_waveforms(fill, files):
    store, clips = fill(*files)
    assert len(MappedWaveforms(clips.iloc[:0], store)) == 0


# Unpacking


def test_an_unpacked_shard_is_plain_little_endian_numbers_and_made_once(fill, files):
    store, clips = fill(*files)
    path = unpack_shard(store, clips["shard"][0])
    np.testing.assert_allclose(
        np.fromfile(path, "<i2").astype(np.float32) / FULL_SCALE, np.concatenate([signal(f) for f in files])
    )
    first = path.stat().st_ino
    assert unpack_shard(store, clips["shard"][0]).stat().st_ino == first


def test_a_shard_written_anew_is_unpacked_anew(fill, files):
    store, clips = fill(*files)
    path = unpack_shard(store, clips["shard"][0])
    path.write_bytes(b"stale")
    os.utime(path, ns=(0, 0))
    np.testing.assert_array_equal(MappedWaveforms(clips, store).read(0), signal(files[0]))


def test_a_shard_with_damaged_samples_is_named(fill, files):
    store, clips = fill(*files)
    shard = store / "shards" / f"{clips['shard'][0]}.parquet"
    shard.write_bytes(shard.read_bytes()[:-40])
    with pytest.raises(StoreError, match=f"{shard}: cannot be read"):
        unpack_shard(store, clips["shard"][0])
    assert not list((store / "unpacked").iterdir())


def test_columns_of_floats_as_a_join_leaves_them_are_read_too(fill, files):
    store, clips = fill(*files)
    floats = clips.astype({"first_sample": "float64", "num_samples": "float64"})
    assert isinstance(floats, pd.DataFrame)
    np.testing.assert_array_equal(MappedWaveforms(floats, store).read(2), signal(files[2]))
