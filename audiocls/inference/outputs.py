"""Predictions as a table: Parquet, CSV, JSON lines, or lines for a terminal."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from audiocls.errors import ParamsError
from audiocls.files import masked, replacing
from audiocls.inference.classifier import UNKNOWN
from audiocls.inference.ensemble import Answer

Row = dict[str, Any]
_ROWS: Final = 10_000  # in a row group of Parquet
_COLUMNS: Final = {
    "path": pa.string(), "label": pa.string(), "probability": pa.float64(), "seconds": pa.float64(),
    "windows": pa.int64(), "reason": pa.string(), "detail": pa.string(),
}  # fmt: skip


class TableParams(NamedTuple):
    """What a row says."""

    top: int = 1
    """Above 1: as many columns `label_1`, `probability_1`, `label_2`, ..., from the most probable label on."""
    threshold: float | None = None
    """Where the highest probability is below it, `label` is "unknown"."""


class RowMaker:
    """Makes a row of an answer; all rows have the same columns."""

    def __init__(self, labels: Sequence[str], params: TableParams) -> None:
        """Make rows with these labels."""
        self._labels = labels
        self._threshold = params.threshold
        self._top = min(params.top, len(labels)) if params.top > 1 else 0
        more = [
            (f"{name}_{rank}", kind)
            for rank in range(1, self._top + 1)
            for name, kind in (("label", pa.string()), ("probability", pa.float64()))
        ]
        self.schema = pa.schema([*_COLUMNS.items(), *more])
        """The columns and their types."""
        self._empty: Row = dict.fromkeys(self.schema.names)

    def row(self, path: str, answer: Answer) -> Row:
        """Return the row of a file."""
        row = self._empty | {"path": _writable(path)}
        if answer.reason is not None:
            return row | {"reason": answer.reason, "detail": _writable(answer.detail or "")}
        ranked = sorted(range(len(self._labels)), key=lambda index: -answer.probabilities[index])
        highest = answer.probabilities[ranked[0]]
        is_known = self._threshold is None or highest >= self._threshold
        row["label"] = self._labels[ranked[0]] if is_known else UNKNOWN
        row |= {"probability": highest, "seconds": answer.seconds, "windows": answer.windows}
        for rank, index in enumerate(ranked[: self._top], start=1):
            row[f"label_{rank}"] = self._labels[index]
            row[f"probability_{rank}"] = answer.probabilities[index]
        return row


def _writable(text: str) -> str:
    """Mask passwords of URIs, and escape what is not UTF-8, as names of files may be."""
    return masked(text).encode("utf-8", "backslashreplace").decode()


def check_output(out: Path) -> None:
    """Check that the suffix of an output names a format.

    Raises:
        ParamsError: It does not.
    """
    if out.suffix.lower() not in _WRITERS:
        raise ParamsError(f"--out {out}: the suffix must be one of {', '.join(_WRITERS)}.")


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
    if is_terminal:
        stream.write(f"{'path':<{wide}}  label\n")
    for row in rows:
        stream.write((_table_line(row, wide) if is_terminal else json.dumps(row, ensure_ascii=False)) + "\n")
        yield row


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
    return f"{path:<{wide}}  " + "  ".join(f"{label} {probability:.3f}" for label, probability in ranked)


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "�" for character in text)
