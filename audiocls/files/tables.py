"""Tables as Parquet files, in any place that `storage` opens."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from audiocls.errors import StoreError
from audiocls.files.atomic import replacing
from audiocls.files.masking import masked
from audiocls.files.storage import Place, writing


def tables_in(folder: Place) -> list[Place]:
    """List the Parquet files of a folder, sorted by name; a missing folder has none."""
    if isinstance(folder, Path):
        return sorted(folder.glob("*.parquet"))
    try:
        listed = folder.fs.ls(folder.path, detail=False)
    except FileNotFoundError:
        return []
    return [folder / name for name in sorted(path.rsplit("/", 1)[-1] for path in listed) if name.endswith(".parquet")]


def read_table(path: Place, columns: list[str] | None = None) -> pa.Table:
    """Read a Parquet table or some of its columns; startup takes a fifth of the time of `pq.read_table`.

    Raises:
        StoreError: The table is damaged; the message says what to do.
    """
    with open_table(path) as table:
        try:
            return table.read(columns)
        except (pa.ArrowException, OSError) as error:
            raise damaged(path, error) from error


def open_table(path: Place) -> pq.ParquetFile:
    """Open a Parquet table to read it in parts.

    Raises:
        StoreError: The table is damaged; the message says what to do.
    """
    try:
        return pq.ParquetFile(path) if isinstance(path, Path) else pq.ParquetFile(path.path, filesystem=path.fs)
    except (pa.ArrowException, OSError) as error:
        raise damaged(path, error) from error


def as_csv(table: Place, folder: Path) -> Path:
    """Write a Parquet table as CSV of the same name into a folder, for people and for pages that show no Parquet."""
    target = folder / f"{table.stem}.csv"
    with replacing(target) as part:
        read_table(table).to_pandas().to_csv(part, index=False)
    return target


def damaged(path: Place, error: Exception) -> StoreError:
    """Return the error for a damaged shard or file table, with what to do."""
    return StoreError(
        f"{masked(str(path))}: cannot be read ({masked(str(error))}). Delete it; the next run writes it again."
    )


def write_table(table: pd.DataFrame | pa.Table, target: Place, row_group_rows: int | None = None) -> Place:
    """Write a table atomically as zstd-compressed Parquet, in row groups that can be read separately."""
    if isinstance(table, pd.DataFrame):
        table = pa.Table.from_pandas(table, preserve_index=False)
    with writing(target) as part:
        pq.write_table(table, part, compression="zstd", row_group_size=row_group_rows)
    return target
