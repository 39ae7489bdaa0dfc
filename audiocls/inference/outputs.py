"""Predictions as a table: Parquet, CSV, JSON lines, or lines for a terminal."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from audiocls.errors import ParamsError
from audiocls.files import replacing
from audiocls.inference.rows import Row, TableParams

_ROWS: Final = 10_000  # in a row group of Parquet


def check_output(out: Path, table: TableParams) -> None:
    """Check that an output is a folder if label files are written, and else a file whose suffix names a format.

    Raises:
        ParamsError: It is not.
    """
    is_table = out.suffix.lower() in _WRITERS
    if table.label_format is None and not is_table:
        raise ParamsError(f"--out {out}: the suffix must be one of {', '.join(_WRITERS)}.")
    if table.label_format is not None and (is_table or out.is_file() or not out.name):
        raise ParamsError(
            f"--out {out}: must be a folder with a name, as --format {table.label_format} writes a file for each "
            "recording."
        )


def write_rows(rows: Iterable[Row], schema: pa.Schema, out: Path) -> None:
    """Write rows, in the format of the suffix; the file appears whole or not at all.

    Raises:
        FullDiskError: There is no space left.
    """
    with replacing(out) as part:
        _WRITERS[out.suffix.lower()](rows, schema, part)


def _write_parquet(rows: Iterable[Row], schema: pa.Schema, part: Path) -> None:
    with pq.ParquetWriter(part, schema, compression="zstd") as writer:
        left = iter(rows)
        while some := list(islice(left, _ROWS)):
            writer.write_table(pa.Table.from_pylist(some, schema))


def _write_csv(rows: Iterable[Row], schema: pa.Schema, part: Path) -> None:
    with part.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.DictWriter(opened, schema.names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _write_json_lines(rows: Iterable[Row], schema: pa.Schema, part: Path) -> None:
    with part.open("w", encoding="utf-8") as opened:
        for row in rows:
            opened.write(json.dumps(row, ensure_ascii=False) + "\n")


_WRITERS: Final[dict[str, Callable[[Iterable[Row], pa.Schema, Path], None]]] = {
    ".parquet": _write_parquet,
    ".csv": _write_csv,
    ".jsonl": _write_json_lines,
    ".ndjson": _write_json_lines,
}


def show_rows(rows: Iterable[Row], paths: Sequence[str], stream: TextIO, width: int) -> Iterator[Row]:
    """Write rows as they come, as a table on a terminal and as JSON lines elsewhere; yield each when it is written.

    Args:
        rows: As `RowMaker` makes them.
        paths: All that will come, from which the width of their column follows.
        stream: Where to.
        width: Of the terminal, in characters.
    """
    is_terminal = stream.isatty()
    wide = min(max(map(len, paths)), max(20, width - 40))
    for number, row in enumerate(rows):
        if is_terminal and not number:
            stream.write(f"{'path':<{wide}}  {_SPAN_HEADER if 'start_seconds' in row else ''}label\n")
        stream.write((_table_line(row, wide) if is_terminal else json.dumps(row, ensure_ascii=False)) + "\n")
        yield row


_SPAN_HEADER: Final = f"{'start':>10}  {'end':>10}  "


def _table_line(row: Row, wide: int) -> str:
    path = _printable(row["path"])
    path = path if len(path) <= wide else f"…{path[-wide + 1 :]}"
    if row["reason"] is not None:
        return f"{path:<{wide}}  - {row['reason']}: {_printable(row['detail'])}"
    ranked = [(row["label"], row["probability"])]
    rank = 2 if row["label"] == row.get("label_1") else 1
    while f"label_{rank}" in row:
        ranked.append((row[f"label_{rank}"], row[f"probability_{rank}"]))
        rank += 1
    span = f"{row['start_seconds']:>10.3f}  {row['end_seconds']:>10.3f}  " if "start_seconds" in row else ""
    return f"{path:<{wide}}  {span}" + "  ".join(f"{label} {probability:.3f}" for label, probability in ranked)


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "�" for character in text)
