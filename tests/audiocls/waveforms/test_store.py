from __future__ import annotations

import gc
import json
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import soundfile

from audiocls import decoding
from audiocls.decoding.clip_files import MAX_BYTES_PER_SECOND, look_at_files, most_bytes
from audiocls.errors import FullDiskError, StoreError
from audiocls.params.run import AudioParams
from audiocls.waveforms import store as waveforms
from audiocls.waveforms.shards import write_shard
from audiocls.waveforms.store import SHARD_CLIPS, look_up, open_store, plan_store

AUDIO = AudioParams()


@pytest.fixture
def files(tmp_path, write_tone):
    """Three tones of 200, 300 and 400 Hz."""
    return [write_tone(tmp_path / "audio" / f"{hz}.wav", hz) for hz in (200, 300, 400)]


@pytest.fixture
def fill(tmp_path, list_table, fill_store):
    """A function that fills the store with some files, and returns the plan."""

    def filled(paths, params=AUDIO, order=1):
        return fill_store(list_table(tmp_path, [(path, "x") for path in paths]), tmp_path, params, order)

    return filled


@pytest.fixture
def plan(tmp_path, list_table):
    """A function that plans the store for some files, and writes nothing."""

    def planned(paths, params=AUDIO):
        return plan_store(list_table(tmp_path, [(path, "x") for path in paths]), params, tmp_path)

    return planned


def shard_rows(store):
    """All rows of all shards, read with pandas and nothing of ours."""
    paths = sorted((store / "shards").glob("*.parquet"))
    return pd.concat([pd.read_parquet(path) for path in paths], ignore_index=True)


def by_name(plan):
    """What the store says of every file, by the file's name."""
    found = look_up(plan)
    assert found["path"].is_unique
    return found.assign(name=[Path(path).name for path in found["path"]]).set_index("name")


def samples_of(plan, row):
    """The samples that a looked-up row points to, cut out of its shard by `first_sample` and `num_samples`."""
    shard = pd.read_parquet(plan.store / "shards" / f"{row['shard']}.parquet")
    every = b"".join(cell for cell in shard["samples"] if cell is not None)
    first = int(row["first_sample"])
    return np.frombuffer(every, "<i2")[first : first + int(row["num_samples"])]


def assert_holds(plan, path):
    """The store has of the file at `path` what decoding it gives."""
    row = by_name(plan).loc[path.name]
    expected = decoding.decode(path.read_bytes(), AUDIO)
    assert pd.isna(row["reason"])
    np.testing.assert_array_equal(samples_of(plan, row), expected.samples)


# What is stored


def test_the_store_holds_what_was_decoded(fill, files):
    plan = fill(files)
    assert len(plan.shards) == 1
    for path in files:
        assert_holds(plan, path)


def test_a_shard_is_read_with_plain_pandas(fill, files):
    rows = shard_rows(fill(files[:1]).store)
    (samples,) = rows["samples"]
    np.testing.assert_array_equal(np.frombuffer(samples, "<i2"), soundfile.read(files[0], dtype="int16")[0])
    assert rows.loc[0, ["num_samples", "scale", "source_rate_hz", "source_format"]].tolist() == [
        1_600, 1.0, 16_000, "WAV/PCM_16",
    ]  # fmt: skip


def test_the_measures_stand_beside_the_samples(fill, files):
    row = by_name(fill(files)).loc["200.wav"]
    assert row["duration_seconds"] == pytest.approx(0.1)
    assert row["peak"] == pytest.approx(0.5, abs=0.001)
    assert row["rms_db"] == pytest.approx(-9.03, abs=0.01)
    assert row["clipped_fraction"] == 0


def test_a_clip_that_cannot_be_used_is_a_row_with_its_reason(fill, tmp_path, files):
    broken = tmp_path / "audio" / "broken.wav"
    broken.write_bytes(b"no audio at all")
    plan = fill([files[0], broken, files[1]])
    row = by_name(plan).loc["broken.wav"]
    assert (row["reason"], row["detail"]) == ("unreadable", "Format not recognised.")
    assert shard_rows(plan.store)["reason"].notna().sum() == 1
    assert_holds(plan, files[0])
    assert_holds(plan, files[1])


def test_what_is_no_file_has_a_reason_and_the_others_are_stored(fill, tmp_path, files):
    (tmp_path / "audio" / "folder.wav").mkdir()
    (tmp_path / "audio" / "broken.wav").symlink_to(tmp_path / "gone.wav")
    (tmp_path / "audio" / "circle.wav").symlink_to(tmp_path / "audio" / "circle.wav")
    os.mkfifo(tmp_path / "audio" / "pipe.wav")
    names = ["missing.wav", "folder.wav", "broken.wav", "circle.wav", "pipe.wav"]
    plan = fill([*files, *(tmp_path / "audio" / name for name in names), files[0] / "below.wav"])
    found = by_name(plan)
    assert found.loc[[*names, "below.wav"], ["reason", "detail"]].apply(tuple, axis=1).tolist() == [
        ("missing", "no such file"),
        ("not_a_file", "a directory"),
        ("missing", f"a link to {tmp_path / 'gone.wav'}, which does not exist"),
        ("missing", "Too many levels of symbolic links"),
        ("not_a_file", "neither a file nor a directory"),
        ("missing", "Not a directory"),
    ]
    for path in files:
        assert_holds(plan, path)


def test_a_file_too_large_to_be_short_enough_is_not_read(fill, plan, files, tmp_path):
    params = AudioParams(max_file_seconds=1.0)
    largest = most_bytes(params)
    for name, num_bytes in (("too-large.wav", largest + 1), ("large.wav", largest)):
        with (tmp_path / "audio" / name).open("wb") as sparse:
            sparse.truncate(num_bytes)
    planned = plan([*files, tmp_path / "audio" / "too-large.wav", tmp_path / "audio" / "large.wav"], params)
    assert sum(shard.stop - shard.start for shard in planned.shards) == 4
    row = by_name(planned).loc["too-large.wav"]
    assert row["reason"] == "too_long"
    assert row["detail"].startswith("0.1 GB, not read: audio.max_file_seconds = 1 allows at most 0.1 GB, at 12.3 MB ")


def test_the_largest_recordings_of_the_allowed_length_are_within_the_bound(encode, tone):
    params = AudioParams(max_file_seconds=1.0)
    largest = encode(np.tile(tone(seconds=1.0, rate_hz=192_000)[:, None], 8), 192_000, subtype="DOUBLE")
    assert 0.99 * MAX_BYTES_PER_SECOND < len(largest) < most_bytes(params)


def test_a_path_with_a_zero_byte_is_missing():
    (found,) = look_at_files(["a\0b.wav"], AUDIO)
    assert found.reason == "missing"


def test_identical_bytes_under_two_names_are_stored_once(fill, files, tmp_path):
    copy = tmp_path / "audio" / "copy.wav"
    copy.write_bytes(files[0].read_bytes())
    plan = fill([*files, copy])
    assert len(shard_rows(plan.store)) == 3
    found = by_name(plan)
    columns = ["content_sha256", "shard", "first_sample", "num_samples"]
    assert found.loc["copy.wav", columns].tolist() == found.loc["200.wav", columns].tolist()
    assert_holds(plan, copy)


def test_identical_bytes_in_two_shards_are_looked_up_once(fill, write_tone, tmp_path):
    paths = [write_tone(tmp_path / "audio" / f"{i:03}.wav", 200 + i) for i in range(SHARD_CLIPS)]
    copy = tmp_path / "audio" / "copy.wav"
    copy.write_bytes(paths[0].read_bytes())
    plan = fill([*paths, copy])
    assert len(plan.shards) == 2
    found = by_name(plan)
    assert found.loc["copy.wav", "shard"] == found.loc["000.wav", "shard"]
    assert len(found) == SHARD_CLIPS + 1


# What is not done twice


def test_a_second_plan_has_nothing_to_do(fill, plan, files):
    first = fill(files)
    again = plan(files)
    assert again.shards == ()
    pd.testing.assert_frame_equal(by_name(again).sort_index(), by_name(first).sort_index(), check_dtype=False)


def test_another_run_on_the_same_files_leaves_the_store_as_it_is(fill, files):
    store = fill(files).store
    before = {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}
    fill(files)
    assert {path: path.read_bytes() for path in store.rglob("*") if path.is_file()} == before


def test_a_shard_of_an_abandoned_plan_is_never_overwritten_with_other_content(plan, fill, files, write_tone, tmp_path):
    more = [write_tone(tmp_path / "audio" / f"{i:03}.wav", 500 + i) for i in range(SHARD_CLIPS)]
    abandoned = plan([*files, *more])
    write_shard(abandoned.shards[0], AUDIO)
    (first,) = (abandoned.store / "shards").iterdir()
    content = first.read_bytes()
    fill(files)
    fill([*more, *files])
    fill(more[:9])
    assert first.read_bytes() == content
    assert shard_rows(abandoned.store)["content_sha256"].is_unique


def test_a_file_under_a_new_name_is_not_decoded_again(fill, plan, files):
    before = shard_rows(fill(files).store)
    moved = files[0].rename(files[0].with_name("moved.wav"))
    after = fill([moved, *files[1:]])
    pd.testing.assert_frame_equal(shard_rows(after.store), before, check_dtype=False)
    assert_holds(after, moved)
    assert plan([moved, *files[1:]]).shards == ()


def test_later_files_only_add_shards(fill, files):
    first = fill(files[:2])
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in first.store.glob("*/*.parquet")}
    second = fill(files)
    assert sum(shard.stop - shard.start for shard in second.shards) == 1
    assert {path.parent.name for path in before} == {"shards", "files", "plans"}
    for path, content in before.items():
        assert (path.read_bytes(), path.stat().st_mtime_ns) == content
    assert len(list((second.store / "shards").iterdir())) == 2
    for path in files:
        assert_holds(second, path)


def test_a_file_that_changes_is_decoded_anew_and_changes_back(fill, files, write_tone):
    path = files[0]
    old, old_time = path.read_bytes(), path.stat().st_mtime_ns
    fill(files)
    write_tone(path, 900, modified_ns=old_time + 10**9)
    changed = fill(files)
    assert len(changed.shards) == 1
    assert_holds(changed, path)
    path.write_bytes(old)
    os.utime(path, ns=(old_time, old_time))
    restored = fill(files)
    assert restored.shards == ()
    assert_holds(restored, path)
    assert len(shard_rows(restored.store)) == 4


def test_a_plan_made_before_a_file_changed_does_not_take_the_new_bytes_for_the_old_ones(plan, fill, files, write_tone):
    path = files[0]
    old, old_time = path.read_bytes(), path.stat().st_mtime_ns
    planned = plan(files)
    write_tone(path, 900, modified_ns=old_time + 10**9)
    for shard in planned.shards:
        write_shard(shard, AUDIO)
    row = by_name(planned).loc[path.name]
    assert (row["reason"], row["detail"]) == (
        "unreadable",
        "the file changed while the store was filled; the next run reads it",
    )
    assert_holds(fill(files), path)
    path.write_bytes(old)
    os.utime(path, ns=(old_time, old_time))
    assert_holds(fill(files), path)


def test_a_file_that_goes_away_while_the_store_is_filled_is_read_when_it_is_back(plan, fill, files):
    planned = plan(files)
    content, time = files[0].read_bytes(), files[0].stat().st_mtime_ns
    files[0].unlink()
    for shard in planned.shards:
        write_shard(shard, AUDIO)
    row = by_name(planned).loc[files[0].name]
    assert (row["reason"], row["detail"]) == ("unreadable", "No such file or directory")
    files[0].write_bytes(content)
    os.utime(files[0], ns=(time, time))
    again = fill(files)
    assert sum(shard.stop - shard.start for shard in again.shards) == 1
    for path in files:
        assert_holds(again, path)


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind root")
def test_a_file_without_permission_is_read_when_it_is_given(fill, files):
    files[0].chmod(0)
    row = by_name(fill(files)).loc[files[0].name]
    assert (row["reason"], row["detail"]) == ("unreadable", "Permission denied")
    files[0].chmod(0o644)
    assert_holds(fill(files), files[0])


def test_a_broken_file_is_not_decoded_again(fill, plan, files):
    files[0].write_bytes(b"no audio at all")
    fill(files)
    again = plan(files)
    assert again.shards == ()
    assert by_name(again).loc[files[0].name, "reason"] == "unreadable"


# What the settings decide


def test_other_samples_are_another_store(tmp_path):
    stores = {
        open_store(params, tmp_path)
        for params in (
            AUDIO,
            AudioParams(sample_rate_hz=8_000),
            AudioParams(min_seconds=1.0),
            AudioParams(max_file_seconds=9.0),
        )
    }
    assert len(stores) == 4
    settings = [json.loads((store / "settings.json").read_text()) for store in stores]
    assert {s["sample_rate_hz"] for s in settings} == {8_000, 16_000}
    assert {s["algorithm"] for s in settings} == {decoding.ALGORITHM}


def test_how_the_model_is_fed_does_not_change_the_store(tmp_path):
    store = open_store(AUDIO, tmp_path)
    for params in (AudioParams(max_seconds=1.0), AudioParams(truncate="head"), AudioParams(pad="repeat")):
        assert open_store(params, tmp_path) == store


def test_another_algorithm_is_another_store(tmp_path, monkeypatch):
    store = open_store(AUDIO, tmp_path)
    monkeypatch.setattr(decoding, "ALGORITHM", decoding.ALGORITHM + 1)
    assert open_store(AUDIO, tmp_path) != store


def test_two_stores_stand_beside_each_other(fill, files):
    whole, half = fill(files), fill(files, AudioParams(sample_rate_hz=8_000))
    assert whole.store != half.store
    lengths = [by_name(plan)["num_samples"].astype(int).tolist() for plan in (whole, half)]
    assert lengths == [[1_600] * 3, [800] * 3]
    assert fill(files).shards == ()


# What order and accidents do


def test_shards_may_be_written_in_any_order(list_table, fill_store, write_tone, tmp_path):
    paths = [write_tone(tmp_path / "audio" / f"{i:03}.wav", 200 + i) for i in range(SHARD_CLIPS + 2)]
    manifest = list_table(tmp_path, [(path, "x") for path in paths])
    forwards = fill_store(manifest, tmp_path / "forwards")
    backwards = fill_store(manifest, tmp_path / "backwards", order=-1)
    assert [shard.stop - shard.start for shard in forwards.shards] == [SHARD_CLIPS, 2]
    pd.testing.assert_frame_equal(look_up(forwards), look_up(backwards))
    assert_holds(backwards, paths[-1])


def test_writing_a_shard_twice_changes_nothing(fill, files):
    plan = fill(files)
    before = look_up(plan)
    write_shard(plan.shards[0], AUDIO)
    pd.testing.assert_frame_equal(look_up(plan), before)


def stop_decoding_at(monkeypatch, clip):
    """Let decoding be interrupted at one clip, as by a signal."""
    decode, calls = decoding.decode, []

    def interrupted(content, params):
        calls.append(content)
        if len(calls) > clip:
            raise KeyboardInterrupt
        return decode(content, params)

    monkeypatch.setattr(decoding, "decode", interrupted)


def test_a_shard_that_is_interrupted_leaves_nothing(plan, fill, files, monkeypatch):
    planned = plan(files)
    with monkeypatch.context() as patch:
        stop_decoding_at(patch, clip=2)
        with pytest.raises(KeyboardInterrupt):
            write_shard(planned.shards[0], AUDIO)
    assert list((planned.store / "shards").iterdir()) == []
    assert not (planned.store / "files").exists()
    assert (by_name(planned)["reason"] == "unreadable").all()
    for path in files:
        assert_holds(fill(files), path)


def test_only_the_interrupted_shard_is_written_again(plan, fill, write_tone, tmp_path, monkeypatch):
    paths = [write_tone(tmp_path / "audio" / f"{i:03}.wav", 200 + i) for i in range(SHARD_CLIPS + 5)]
    planned = plan(paths)
    write_shard(planned.shards[0], AUDIO)
    with monkeypatch.context() as patch:
        stop_decoding_at(patch, clip=3)
        with pytest.raises(KeyboardInterrupt):
            write_shard(planned.shards[1], AUDIO)
    again = fill(paths)
    assert [shard.stop - shard.start for shard in again.shards] == [5]
    assert len(shard_rows(again.store)) == len(paths)


def test_leftovers_of_a_killed_process_are_ignored(fill, plan, files):
    filled = fill(files)
    for folder in ("shards", "files", "plans", "unpacked"):
        (filled.store / folder).mkdir(exist_ok=True)
        (filled.store / folder / ".shard.parquet.ab12.part").write_bytes(b"half a shard")
    assert plan(files).shards == ()
    for path in files:
        assert_holds(filled, path)


def test_a_run_killed_between_a_shard_and_its_file_table_keeps_the_samples(fill, files):
    first = fill(files)
    (table,) = (first.store / "files").glob("*.parquet")
    table.unlink()
    again = fill(files)
    assert len(again.shards) == 1
    assert len(shard_rows(again.store)) == 3
    for path in files:
        assert_holds(again, path)


def test_a_full_disk_is_said_with_what_is_needed_and_the_next_run_completes_the_store(
    plan, fill, files, write_tone, tmp_path, full_disk
):
    long = write_tone(tmp_path / "audio" / "long.wav", 440, seconds=2)
    fill(files[:2])
    planned = plan([*files, long])
    with full_disk(30_000), pytest.raises(FullDiskError) as raised:
        write_shard(planned.shards[0], AUDIO)
    assert str(raised.value).startswith(f"{planned.store / 'shards'}: ")
    assert "2 files of 0 MB remain to be stored" in str(raised.value)
    assert not list(planned.store.rglob("*.part"))
    completed = fill([*files, long])
    assert completed.plan == planned.plan
    for path in (*files, long):
        assert_holds(completed, path)


def test_a_damaged_shard_is_named_and_comes_back_when_it_is_deleted(fill, plan, files):
    filled = fill(files)
    (shard,) = (filled.store / "shards").glob("*.parquet")
    shard.write_bytes(shard.read_bytes()[:-40])
    with pytest.raises(StoreError, match=rf"{shard}: cannot be read .*Delete it; the next run writes it again"):
        plan(files)
    shard.unlink()
    assert set(by_name(filled)["detail"]) == {"it has not been added to the store"}
    again = fill(files)
    for path in files:
        assert_holds(again, path)


def test_a_damaged_file_table_is_named(fill, plan, files):
    filled = fill(files)
    (table,) = (filled.store / "files").glob("*.parquet")
    table.write_bytes(b"PAR1")
    with pytest.raises(StoreError, match=f"{table}: cannot be read"):
        plan(files)


def test_an_unfilled_store_has_a_reason_for_every_file(plan, files):
    found = by_name(plan(files))
    assert found["reason"].tolist() == ["unreadable"] * 3
    assert set(found["detail"]) == {"it has not been added to the store"}


def test_a_manifest_without_any_file_to_read_is_looked_up_too(fill, tmp_path):
    plan = fill([tmp_path / "gone.wav"])
    assert plan.shards == ()
    assert by_name(plan)["reason"].tolist() == ["missing"]


def test_samples_are_let_go_once_they_are_written(tmp_path, write_tone, plan):
    paths = [write_tone(tmp_path / "audio" / f"{hz}.wav", hz, seconds=3.0) for hz in range(300, 330)]
    planned = plan(paths)
    tracemalloc.start()
    try:
        for shard in planned.shards:
            write_shard(shard, AUDIO)
        gc.collect()
        kept_bytes = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert kept_bytes < 1_000_000 < 30 * 3 * 16_000 * 2


def test_a_plan_has_one_row_group_for_many_shards_as_every_shard_reads_its_footer(
    tmp_path, write_tone, list_table, monkeypatch
):
    monkeypatch.setattr(waveforms, "SHARD_CLIPS", 1)
    paths = [write_tone(tmp_path / f"{i}.wav", 200 + i, seconds=0.06) for i in range(70)]
    plan = plan_store(list_table(tmp_path, [(path, "x") for path in paths]), AudioParams(), tmp_path)
    assert len(plan.shards) == 70
    assert pq.ParquetFile(plan.plan).metadata.num_row_groups == 3
    for shard in plan.shards[-2:]:
        write_shard(shard, AudioParams())
    assert look_up(plan)["reason"].isna().sum() == 2
