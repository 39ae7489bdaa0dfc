"""Shards of the waveform store: one task decodes the files that a plan names into one table of samples."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from audiocls import decoding
from audiocls.decoding import FileFound, read_file
from audiocls.errors import FullDiskError, counted
from audiocls.files import Place, open_table, read_table, write_table, writing
from audiocls.params import AudioParams

# A row group is held in memory until it is written: a shard of short clips is one group, and so is an hour-long clip.
ROW_GROUP_BYTES: Final = 8 * 1024 * 1024
PAGE_BYTES: Final = 256 * 1024

_MEASURES: Final = {
    "duration_seconds": pa.float64(),
    "source_rate_hz": pa.int32(),
    "source_channels": pa.int16(),
    "source_format": pa.string(),
    "peak": pa.float32(),
    "rms_db": pa.float32(),
    "clipped_fraction": pa.float32(),
    "dc_offset": pa.float32(),
    "silence_fraction": pa.float32(),
}
_MEASURED: Final = ("scale", *_MEASURES)
SHARD_SCHEMA: Final = pa.schema(
    [
        pa.field("content_sha256", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("detail", pa.string()),
        pa.field("audio_hash", pa.string(), metadata={"of": "samples", "by": "XXH3, 128 bits"}),
        pa.field("num_samples", pa.int64()),
        pa.field("scale", pa.float32()),
        *(pa.field(name, kind) for name, kind in _MEASURES.items()),
        pa.field("samples", pa.binary(), metadata={"dtype": "int16, little-endian", "unit": "1/32768 * scale"}),
    ]
)
DESCRIBED: Final = pa.schema(list(SHARD_SCHEMA)[:-1])  # all but the samples
FILE_SCHEMA: Final = pa.schema(
    [
        pa.field("path", pa.string()),
        pa.field("size_bytes", pa.int64()),
        pa.field("modified_ns", pa.int64()),
        pa.field("etag", pa.string()),
        pa.field("content_sha256", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("detail", pa.string()),
    ]
)
FILE_KEY: Final = ["path", "size_bytes", "modified_ns", "etag"]


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """The work of one shard: rows `start` to `stop` of the new files of a plan."""

    store: Place
    plan: Place
    start: int
    stop: int


def write_shard(shard: ShardPlan, params: AudioParams) -> int:
    """Read, decode and write the files of one shard, unless another run has done so; return their number."""
    name = f"{shard_name(shard.plan, shard.start)}.parquet"
    target, table = shard.store / "shards" / name, shard.store / "files" / name
    if target.exists() and table.exists() and not read_table(table)["content_sha256"].null_count:
        return shard.stop - shard.start
    files = _planned(shard)
    have = _known_contents(known_beside(shard.plan))
    rows = _decoded_rows(files, have, params)
    try:
        _write_rows(rows, target)
    except FullDiskError as error:
        raise FullDiskError(f"{error} {_space_needed(shard)}") from error
    # Write the shard first: a file table without its shard would refer to missing samples.
    write_table(pa.Table.from_pylist(files, schema=FILE_SCHEMA), table)
    return len(files)


def _planned(shard: ShardPlan) -> list[dict[str, Any]]:
    """Read only the files of one shard, not the whole plan."""
    with open_table(shard.plan) as table:
        # Use the plan's own metadata: another version of this library may have written groups of another size.
        lengths = [table.metadata.row_group(i).num_rows for i in range(table.num_row_groups)]
        group = int(np.searchsorted(np.cumsum(lengths), shard.start, side="right"))
        first = shard.start - sum(lengths[:group])
        files: list[dict[str, Any]] = table.read_row_group(group).slice(first, shard.stop - shard.start).to_pylist()
    return files


@lru_cache(maxsize=1)
def _known_contents(table: Place) -> pa.StringArray:
    """Read the known contents, once for all shards of a plan; a table of this name never changes."""
    return read_table(table)["content_sha256"].combine_chunks()


def _write_rows(rows: Iterator[dict[str, Any]], target: Place) -> None:
    with writing(target) as part, pq.ParquetWriter(part, SHARD_SCHEMA, **_writer_options()) as writer:
        group = _RowGroup()
        for row in rows:
            group.add(row)
            if group.num_bytes >= ROW_GROUP_BYTES:
                writer.write_table(group.as_table())
                group.clear()
        if group.rows:
            writer.write_table(group.as_table())


class _RowGroup:
    """Rows that are written together. Their samples are concatenated on arrival, while they are in the CPU cache."""

    def __init__(self) -> None:
        self._samples = np.empty(ROW_GROUP_BYTES // 2, "<i2")
        self.clear()

    def clear(self) -> None:
        """Start again in the same memory."""
        self.rows: list[dict[str, Any]] = []
        self._ends = [0]

    @property
    def num_bytes(self) -> int:
        """Size of the samples."""
        return 2 * self._ends[-1]

    def add(self, row: dict[str, Any]) -> None:
        """Add a row, and copy its samples if present."""
        start, stop = self._ends[-1], self._ends[-1] + row.get("num_samples", 0)
        if stop > len(self._samples):
            self._samples = np.concatenate([self._samples[:start], np.empty(stop - start, "<i2")])
        self._samples[start:stop] = row.pop("samples", 0)
        self.rows.append(row)
        self._ends.append(stop)

    def as_table(self) -> pa.Table:
        """Return the rows in SHARD_SCHEMA; the samples are a view that is valid until the next `clear`."""
        there = np.packbits([row.get("num_samples") is not None for row in self.rows], bitorder="little")
        buffers = [there, 2 * np.array(self._ends, np.int32), self._samples]
        column = pa.Array.from_buffers(pa.binary(), len(self.rows), [pa.py_buffer(part) for part in buffers])
        return pa.Table.from_pylist(self.rows, schema=DESCRIBED).append_column(SHARD_SCHEMA.field("samples"), column)


def _space_needed(shard: ShardPlan) -> str:
    """Return a message on how much a plan has left to store, based on the sizes of its files."""
    unread = read_table(shard.plan)["size_bytes"].slice(
        shard.start, int(shard.plan.stem.partition("-")[2]) - shard.start
    )
    size = f"{pc.sum(unread).as_py() / 1e6:,.0f} MB"
    return (
        f"{counted(len(unread), f'file of {size} remains', f'files of {size} remain')} to be stored. As 16-bit "
        "samples, WAV takes about the same space again, FLAC twice and MP3 ten times as much."
    )


def _writer_options() -> dict[str, Any]:
    # zstd would shrink speech samples by a tenth and read ten times slower; the other columns are 1 % of a shard.
    written = {"compression": "NONE", "use_dictionary": False, "write_statistics": ["content_sha256", "num_samples"]}
    # Pages of this size stay in the CPU cache, so short clips are written in four fifths of the time.
    return written | {"data_page_size": PAGE_BYTES, "write_batch_size": 8}


def _decoded_rows(files: list[dict[str, Any]], have: pa.StringArray, params: AudioParams) -> Iterator[dict[str, Any]]:
    """Yield a row of SHARD_SCHEMA for each new content, and write the hash or the reason into `files`.

    `have` holds the known contents, sorted. It is searched by bisection, as building a set would take longer.
    """
    seen: set[str] = set()
    for file in files:
        found = FileFound(*(file[name] for name in FILE_KEY))
        digest, content, fault = _open(found)
        row = None
        if not fault and digest not in seen and not _is_among(digest, have):
            try:
                row, fault = _decoded_row(digest, content, params), _find_change(found, content)
            except decoding.MissingDecoderError as error:
                # Recorded for the file and not for its content, so that it is tried again.
                file |= {"reason": error.reason, "detail": error.detail}
                continue
            except OSError as error:
                fault = str(error.strerror)
        if fault:
            file |= {"reason": "unreadable", "detail": fault}
            continue
        if row is not None:
            seen.add(digest)
            yield row
        file["content_sha256"] = digest


def _open(found: FileFound) -> tuple[str, bytes | Path, str | None]:
    """Return the hash of a file, its bytes or the path of a long one, and an error text if it cannot be read."""
    path = decoding.long_file(found)
    if path is not None:
        digest, fault = decoding.hash_file(found, path)
        return digest, path, fault
    content, fault = read_file(found)
    return "" if fault else hashlib.sha256(content).hexdigest(), content, fault


def _find_change(found: FileFound, content: bytes | Path) -> str | None:
    """Return an error text if a long file, which is read several times, has changed meanwhile."""
    return decoding.find_change(found, content) if isinstance(content, Path) else None


def _is_among(digest: str, have: pa.StringArray) -> bool:
    place = bisect_left(have, digest, key=lambda cell: cell.as_py())
    return place < len(have) and have[place].as_py() == digest


def _decoded_row(digest: str, content: bytes | Path, params: AudioParams) -> dict[str, Any]:
    try:
        recording = (
            decoding.decode_file(content, params) if isinstance(content, Path) else decoding.decode(content, params)
        )
    except decoding.MissingDecoderError:
        raise
    except decoding.UnusableClipError as error:
        return {"content_sha256": digest, "reason": error.reason, "detail": error.detail}
    samples = recording.samples.astype("<i2", copy=False)
    return {name: getattr(recording, name) for name in _MEASURED} | {
        "content_sha256": digest,
        "audio_hash": decoding.hash_audio(samples.data),
        "num_samples": len(recording.samples),
        "samples": samples,
    }


def shard_name(plan: Place, start: int) -> str:
    """Name a shard by its plan and its first row."""
    return f"{plan.stem.partition('-')[0]}-{start:06d}"


def known_beside(plan: Place) -> Place:
    """Return the path of the table of contents that were known when the plan was made."""
    return plan.with_suffix(".known.parquet")
