from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from audiocls.waveforms.file_maps import FileMaps
from audiocls.waveforms.mapped import MappedWaveforms
from audiocls.waveforms.store import look_up

FILES = 40


@pytest.fixture
def files(tmp_path):
    """Files of a thousand numbers, each of which is the number of its file."""
    paths = [tmp_path / f"{number}.bin" for number in range(FILES)]
    for number, path in enumerate(paths):
        path.write_bytes(np.full(1_000, number, "<i2").tobytes())
    return paths


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def mapped(folder: Path) -> int:
    """How many files below a folder this process has mapped."""
    return sum(str(folder) in line for line in Path("/proc/self/maps").read_text().splitlines())


def test_maps_hold_no_file_open(files):
    maps, before = FileMaps(files, "<i2"), open_files()
    kept = [maps[i] for i in range(FILES)]
    assert open_files() == before
    assert [int(numbers[500]) for numbers in kept] == list(range(FILES))


def test_no_more_files_are_mapped_at_once_than_asked_for(files, tmp_path):
    maps = FileMaps(files, "<i2", most=8)
    for i in range(FILES):
        assert maps[i][0] == i
    assert mapped(tmp_path) == 8


def test_a_file_that_was_closed_is_mapped_again(files):
    maps = FileMaps(files, "<i2", most=2)
    assert [int(maps[i][-1]) for i in (0, 1, 2, 3, 0, 3, 1)] == [0, 1, 2, 3, 0, 3, 1]


def test_an_array_outlives_its_map(files):
    maps = FileMaps(files, "<i2", most=1)
    first = maps[0]
    assert maps[1][0] == 1
    assert (first == 0).all()


def test_maps_go_to_another_process_by_their_files(files):
    maps = pickle.loads(pickle.dumps(FileMaps(files, "<i2", most=3)))
    assert (len(maps), maps[7][0], maps[7].dtype) == (FILES, 7, np.dtype("<i2"))


def test_a_store_of_more_shards_than_files_may_be_open_is_read(
    tmp_path, write_tone, list_table, fill_store, few_open_files, monkeypatch
):
    monkeypatch.setattr("audiocls.waveforms.store.SHARD_CLIPS", 1)
    for i in range(FILES):
        write_tone(tmp_path / f"{i}.wav", 200 + i)
    manifest = list_table(tmp_path, [(f"{i}.wav", "x") for i in range(FILES)])
    plan = fill_store(manifest, tmp_path)
    clips = look_up(plan)
    assert clips["shard"].nunique() == FILES
    with few_open_files(20):
        waveforms = MappedWaveforms(clips, plan.store)
        assert min(float(np.abs(waveforms.read(i)).max()) for i in range(FILES)) > 0.2
