"""Tables of clips as users bring them: of any format, read as text, and only the columns that are asked for."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from audiocls.errors import DataError, name_some
from audiocls.masking import masked
from audiocls.places import Place, file_system, suffix_of

_DELIMITED: Final = {
    # A transcript may run over several lines.
    ".csv": pa.csv.ParseOptions(newlines_in_values=True),
    # A quotation mark in a TSV is a letter like any other: Common Voice has transcripts that begin with one.
    ".tsv": pa.csv.ParseOptions(delimiter="\t", quote_char=False),
}
_JSON_LINES: Final = (".jsonl", ".ndjson")
_FORMATS: Final = ".csv, .tsv, .parquet, .jsonl or .ndjson"


def read_columns(path: Place, wanted: dict[str, str]) -> pa.Table:
    """Read some columns of a table, by its suffix; every cell of a CSV or TSV as text, so that a label 07 stays 07.

    Args:
        path: The table.
        wanted: The params key of each column and the column's name, e.g. {"data.path_column": "path"}.

    Raises:
        MissingExtraError: The package that knows the scheme of a URI is not installed.
        DataError: The table is not there, is none or is broken, or lacks a column or has it twice.
    """
    suffix, shown = suffix_of(path), masked(str(path))
    try:
        if isinstance(path, Path) and not path.is_file():
            what = "it is a folder, and a table is a file" if path.is_dir() else "no such file"
            raise DataError(f"data.path = {shown}: {what}.")
        file = path if isinstance(path, Path) else _fetched(path)
        if suffix == ".parquet":
            return _read_parquet(file, shown, wanted)
        if suffix in _DELIMITED:
            return _read_delimited(file, shown, wanted, _DELIMITED[suffix])
        if suffix in _JSON_LINES:
            return _read_json_lines(file, shown, wanted)
    except FileNotFoundError as error:
        raise DataError(f"data.path = {shown}: no such file.") from error
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"data.path = {shown}: the table cannot be read: {masked(str(error))}") from error
    raise DataError(f"data.path = {shown}: a table is {_FORMATS}, and this one is {suffix or 'none of them'}.")


def _fetched(uri: str) -> bytes:
    """Read a whole table: it is small beside its recordings, and is read twice."""
    files, path = file_system(uri)
    content: bytes = files.cat_file(path)
    return content


def _opened(file: Path | bytes) -> BinaryIO:
    return file.open("rb") if isinstance(file, Path) else io.BytesIO(file)


def _unread(file: Path | bytes) -> Path | io.BytesIO:
    """Return what pyarrow reads from the start: it reads ahead, so that no two readers may share a file."""
    return file if isinstance(file, Path) else io.BytesIO(file)


def check_columns(place: str, wanted: dict[str, str], columns: Sequence[str]) -> None:
    """Stop where a wanted column is missing or is there several times.

    Raises:
        DataError: Names all of them, with their params keys.
    """
    missing = [f"{key} = {name}" for key, name in wanted.items() if name not in columns]
    if missing:
        raise DataError(f"{place}: no such column: {', '.join(missing)}. Its columns: {name_some(columns, 30)}.")
    twice = [f"{key} = {name}" for key, name in wanted.items() if columns.count(name) > 1]
    if twice:
        raise DataError(f"{place}: several columns have one name: {', '.join(twice)}. Rename all but one.")


def text_column(place: str, table: pa.Table, name: str, strip: bool = True) -> pd.Series:
    """Return a column as text, stripped of white space; what is null, not a number or blank becomes None."""
    column = table[name]
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), None, column)
    try:
        text = column.cast(pa.string())
        text = pc.utf8_trim_whitespace(text) if strip else text
    except pa.ArrowException as error:
        raise DataError(f"{place}: the column {name} holds {column.type}, and text is needed.") from error
    return pd.Series([cell or None for cell in text.to_pylist()], dtype=object)


def _read_parquet(file: Path | bytes, shown: str, wanted: dict[str, str]) -> pa.Table:
    # Not pq.read_table, which takes a folder named split=train for a column of the table.
    with _opened(file) as opened, pq.ParquetFile(opened) as parquet:
        check_columns(shown, wanted, parquet.schema_arrow.names)
        return parquet.read(columns=_once(wanted))


def _read_delimited(file: Path | bytes, shown: str, wanted: dict[str, str], parse: pa.csv.ParseOptions) -> pa.Table:
    check_columns(shown, wanted, pa.csv.open_csv(_unread(file), parse_options=parse).schema.names)
    names = _once(wanted)
    # As bytes, as pyarrow's own message on what is not UTF-8 names no row.
    convert = pa.csv.ConvertOptions(include_columns=names, column_types=dict.fromkeys(names, pa.binary()))
    table = pa.csv.read_csv(_unread(file), parse_options=parse, convert_options=convert)
    return pa.table({name: _utf8(table[name], name, shown) for name in names})


def _utf8(column: pa.ChunkedArray, name: str, shown: str) -> pa.ChunkedArray:
    try:
        return column.cast(pa.string())
    except pa.ArrowInvalid as error:
        odd = [(row, cell) for row, cell in enumerate(column.to_pylist(), start=1) if not _is_utf8(cell)]
        raise DataError(
            f"data.path = {shown}: a table must be UTF-8, and {len(odd)} cells of the column {name} are not, first "
            f"that of data row {odd[0][0]}, {odd[0][1]!r}. If it is Latin-1 (Windows), convert it: "
            "iconv -f WINDOWS-1252 -t UTF-8 OLD > NEW."
        ) from error


def _is_utf8(cell: bytes) -> bool:
    try:
        cell.decode()
    except UnicodeDecodeError:
        return False
    return True


# Not pyarrow's own reader: it makes a time of the label "2026-01-01", and of a column with 7 and "7" an error.
def _read_json_lines(file: Path | bytes, shown: str, wanted: dict[str, str]) -> pa.Table:
    names = _once(wanted)
    cells: dict[str, list[str | None]] = {name: [] for name in names}
    columns: dict[str, None] = {}
    for number, row in _json_rows(file, shown):
        columns.update(dict.fromkeys(row))
        for name in names:
            cells[name].append(_json_cell(row.get(name), f"{shown}: line {number}: {name}"))
    if columns:
        check_columns(shown, wanted, list(columns))
    return pa.table({name: pa.array(column, pa.string()) for name, column in cells.items()})


def _json_rows(file: Path | bytes, shown: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the number and the object of each line that is not blank."""
    with _opened(file) as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line.decode("utf-8-sig"))
            except (ValueError, RecursionError) as error:
                raise DataError(f"{shown}: line {number} is not valid JSON: {error}") from error
            if not isinstance(row, dict):
                raise DataError(f"{shown}: line {number} must be an object, and is {type(row).__name__}.")
            yield number, row


def _json_cell(value: Any, place: str) -> str | None:
    # NaN, which Python's writer has for a missing value, is the one number that is not itself.
    if value is None or value != value:
        return None
    if isinstance(value, dict | list):
        raise DataError(f"{place} holds {type(value).__name__}, and text is needed.")
    return value if isinstance(value, str) else json.dumps(value)


def _once(wanted: dict[str, str]) -> list[str]:
    """Return the wanted names without repetition: one column may be both label and group."""
    return list(dict.fromkeys(wanted.values()))
