from __future__ import annotations

import os
import stat

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audiocls.errors import FullDiskError
from audiocls.files import write_table
from audiocls.files.atomic import living_parts, replacing


def fail_half_way(target, error):
    with replacing(target) as part:
        part.write_text("ha")
        raise error


def test_the_file_appears_when_the_block_ends_and_not_before(tmp_path):
    target = tmp_path / "result.txt"
    with replacing(target) as part:
        part.write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [target]


def test_a_block_that_fails_leaves_nothing_new(tmp_path):
    target = tmp_path / "result.txt"
    with pytest.raises(RuntimeError, match="half way"):
        fail_half_way(target, RuntimeError("half way"))
    assert list(tmp_path.iterdir()) == []


def test_a_block_that_fails_leaves_the_old_file_as_it_was(tmp_path):
    target = tmp_path / "result.txt"
    target.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        fail_half_way(target, KeyboardInterrupt())
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_an_old_file_is_replaced(tmp_path):
    target = tmp_path / "result.txt"
    target.write_text("old and longer")
    with replacing(target) as part:
        part.write_text("new")
    assert target.read_text() == "new"


def test_the_unfinished_file_lies_beside_the_target_and_is_hidden(tmp_path):
    with replacing(tmp_path / "result.parquet") as part:
        assert part.parent == tmp_path
        assert part.name.startswith(".")
        assert list(tmp_path.glob("*.parquet")) == []


def test_two_writers_of_one_target_do_not_write_into_one_file(tmp_path):
    target = tmp_path / "result.txt"
    with replacing(target) as first:
        with replacing(target) as second:
            first.write_text("first")
            second.write_text("second")
        assert target.read_text() == "second"
    assert target.read_text() == "first"


def test_folders_are_made(tmp_path):
    with replacing(tmp_path / "a" / "b" / "result.txt") as part:
        part.write_text("deep")
    assert (tmp_path / "a" / "b" / "result.txt").read_text() == "deep"


def test_others_may_read_the_file(tmp_path):
    with replacing(tmp_path / "result.txt") as part:
        part.write_text("shared")
    assert stat.S_IMODE((tmp_path / "result.txt").stat().st_mode) == 0o644


def test_a_table_comes_back_without_its_index_and_compressed(tmp_path):
    frame = pd.DataFrame({"label": ["a", "b"], "count": [1, 2]}, index=[7, 9])
    path = write_table(frame, tmp_path / "table.parquet")
    assert path == tmp_path / "table.parquet"
    assert pq.read_table(path).to_pydict() == {"label": ["a", "b"], "count": [1, 2]}
    assert pq.ParquetFile(path).metadata.row_group(0).column(0).compression == "ZSTD"


def test_an_arrow_table_keeps_its_types(tmp_path):
    table = pa.table({"count": pa.array([1, None], pa.int16())})
    assert pq.read_table(write_table(table, tmp_path / "table.parquet")).schema == table.schema


def test_a_table_that_cannot_be_written_leaves_no_file(tmp_path):
    with pytest.raises(pa.ArrowException):
        write_table(pd.DataFrame({"mixed": [1, "a", b"b"]}), tmp_path / "table.parquet")
    assert list(tmp_path.iterdir()) == []


# What killed writers leave


def test_what_a_living_writer_writes_is_left_alone(tmp_path):
    with replacing(tmp_path / "result.txt") as part:
        assert living_parts(tmp_path) == [part]
        part.write_text("whole")
    assert (tmp_path / "result.txt").read_text() == "whole"
    assert living_parts(tmp_path) == []


def test_what_a_dead_writer_left_is_removed(tmp_path):
    with replacing(tmp_path / "result.txt") as part:
        left = tmp_path / part.name.replace(".part", "x.part")
        left.write_text("ha")
        assert living_parts(tmp_path) == [part]
    assert not left.exists()


def test_what_another_machine_left_is_removed_after_a_week(tmp_path):
    parts = [tmp_path / f".result.txt.another-machine.{name}.part" for name in ("new", "old")]
    for part, days in zip(parts, (6, 8), strict=True):
        part.write_text("ha")
        os.utime(part, (part.stat().st_mtime - days * 86_400,) * 2)
    assert living_parts(tmp_path) == [parts[0]]
    assert not parts[1].exists()


def write_bytes(part):
    part.write_bytes(bytes(9_999))


def write_parquet(part):
    pq.write_table(pa.table({"a": [os.urandom(9_999)]}), part)


@pytest.mark.parametrize("write", [write_bytes, write_parquet])
def test_a_full_disk_is_said_with_its_folder_and_leaves_the_old_file(tmp_path, full_disk, write):
    target = tmp_path / "result.txt"
    target.write_text("old")
    message = rf"^{tmp_path}: File too large while result.txt was written; [\d,]+ MB are free there. Make room"
    with full_disk(2_000), pytest.raises(FullDiskError, match=message), replacing(target) as part:
        write(part)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]
