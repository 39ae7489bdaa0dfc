"""Read the requested columns of a user's table of clips as text, from any supported format."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from audiocls.errors import DataError, name_some
from audiocls.files import EncodingFault, Location, as_utf8, composed, file_system, masked, suffix_of

_DELIMITED: Final = {
    # A transcript can span several lines.
    ".csv": pa.csv.ParseOptions(newlines_in_values=True),
    # A quotation mark in a TSV has no special meaning: Common Voice has transcripts that begin with one.
    ".tsv": pa.csv.ParseOptions(delimiter="\t", quote_char=False),
}
_JSON_LINES: Final = (".jsonl", ".ndjson")
_FORMATS: Final = ".csv, .tsv, .parquet, .jsonl or .ndjson"
TABLE_SUFFIXES: Final = (*_DELIMITED, ".parquet", *_JSON_LINES)


def read_columns(
    path: Location, wanted: dict[str, str], key: str = "data.path", separators: Mapping[str, str] | None = None
) -> pa.Table:
    """Read some columns of a table; CSV and TSV cells are read as text, so that a label 07 stays 07.

    Args:
        path: The table; its suffix gives the format.
        wanted: The params key of each column and the column's name, e.g. {"data.path_column": "path"}.
        key: What named the table, for messages.
        separators: By name of a column whose cells may be lists, the text to join them with.

    Raises:
        MissingExtraError: The package for the URI scheme is not installed.
        DataError: The table does not exist, is not a table or is damaged, or a column is missing or duplicated.
    """
    suffix, shown = suffix_of(path), masked(str(path))
    with _reported_of(path, shown, key):
        if suffix == ".parquet":
            table = _read_parquet(path if isinstance(path, Path) else _fetched(path), shown, wanted)
            return _with_joined_lists(table, shown, separators or {})
        if suffix in _DELIMITED:
            return _read_delimited(_text_of(path), shown, wanted, _DELIMITED[suffix])
        if suffix in _JSON_LINES:
            return _read_json_lines(_text_of(path), shown, wanted, separators or {})
    raise _no_table(suffix, shown, key)


def column_names(path: Location) -> list[str]:
    """Return the names of a table's columns, in its order; of JSON lines, those of any row.

    Raises:
        MissingExtraError: The package that knows the scheme of a URI is not installed.
        DataError: The table is not there, is none or is broken.
    """
    suffix, shown = suffix_of(path), masked(str(path))
    with _reported_of(path, shown, "data.path"):
        if suffix == ".parquet":
            with _opened(path if isinstance(path, Path) else _fetched(path)) as opened:
                return list(pq.read_schema(opened).names)
        if suffix in _DELIMITED:
            return list(pa.csv.open_csv(io.BytesIO(_text_of(path)), parse_options=_DELIMITED[suffix]).schema.names)
        if suffix in _JSON_LINES:
            return list(dict.fromkeys(name for _, row in _json_rows(_text_of(path), shown) for name in row))
    raise _no_table(suffix, shown, "data.path")


@contextmanager
def _reported_of(path: Location, shown: str, key: str) -> Iterator[None]:
    """Turn what is wrong with a table into an error that names it."""
    try:
        if isinstance(path, Path) and not path.is_file():
            what = "it is a folder, but a table must be a file" if path.is_dir() else "no such file"
            raise DataError(f"{key} = {shown}: {what}.")
        yield
    except FileNotFoundError as error:
        raise DataError(f"{key} = {shown}: no such file.") from error
    except EncodingFault as error:
        raise DataError(f"{key} = {shown}: {error}.") from error
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{key} = {shown}: the table cannot be read: {masked(str(error))}") from error


def _no_table(suffix: str, shown: str, key: str) -> DataError:
    given = f"the suffix {suffix}" if suffix else "no suffix"
    return DataError(f"{key} = {shown}: a table must be {_FORMATS}, but this file has {given}.")


def _fetched(uri: str) -> bytes:
    """Read a whole remote table: it is small compared with its recordings, and is parsed twice."""
    files, path = file_system(uri)
    content: bytes = files.cat_file(path)
    return content


def _text_of(path: Location) -> bytes:
    """Read a whole text table as UTF-8."""
    return as_utf8(path.read_bytes() if isinstance(path, Path) else _fetched(path))


def _opened(file: Path | bytes) -> BinaryIO:
    return file.open("rb") if isinstance(file, Path) else io.BytesIO(file)


def check_columns(place: str, wanted: dict[str, str], columns: Sequence[str]) -> dict[str, str]:
    """Check that each wanted column exists exactly once; names are compared in NFC.

    Returns:
        The table's own name of each wanted column.

    Raises:
        DataError: Columns are missing or duplicated; the message names all of them with their params keys.
    """
    known: dict[str, list[str]] = {}
    for column in columns:
        known.setdefault(composed(column), []).append(column)
    missing = [f"{key} = {name}" for key, name in wanted.items() if composed(name) not in known]
    if missing:
        raise DataError(f"{place}: no such column: {', '.join(missing)}. Its columns: {name_some(columns, 30)}.")
    twice = [f"{key} = {name}" for key, name in wanted.items() if len(known[composed(name)]) > 1]
    if twice:
        raise DataError(f"{place}: several columns have the same name: {', '.join(twice)}. Rename all but one.")
    return {name: known[composed(name)][0] for name in wanted.values()}


def text_cells(place: str, table: pa.Table, name: str, strip: bool = True) -> list[str | None]:
    """Return a column as text, by default stripped of white space; null, NaN and blank cells become None."""
    column = table[name]
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), None, column)
    try:
        text = column.cast(pa.string())
        text.validate(full=True)
        text = pc.utf8_trim_whitespace(text) if strip else text
    except pa.ArrowException as error:
        text_type = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
        found = "text that is not UTF-8" if text_type else str(column.type)
        raise DataError(f"{place}: the column {name} holds {found}, but text is needed.") from error
    return [cell or None for cell in text.to_pylist()]


def _read_parquet(file: Path | bytes, shown: str, wanted: dict[str, str]) -> pa.Table:
    # Not pq.read_table, which interprets a folder named split=train as a column of the table.
    with _opened(file) as opened, pq.ParquetFile(opened) as parquet:
        named = check_columns(shown, wanted, parquet.schema_arrow.names)
        return _renamed(parquet.read(columns=_once(named)), named)


def _read_delimited(content: bytes, shown: str, wanted: dict[str, str], parse: pa.csv.ParseOptions) -> pa.Table:
    # pyarrow reads ahead, so two readers must not share a file object.
    named = check_columns(shown, wanted, pa.csv.open_csv(io.BytesIO(content), parse_options=parse).schema.names)
    columns = _once(named)
    convert = pa.csv.ConvertOptions(
        include_columns=columns, column_types=dict.fromkeys(columns, pa.string()), strings_can_be_null=False
    )
    return _renamed(pa.csv.read_csv(io.BytesIO(content), parse_options=parse, convert_options=convert), named)


def _once(named: dict[str, str]) -> list[str]:
    """Return the table's names without duplicates: one column can be requested in two spellings."""
    return list(dict.fromkeys(named.values()))


def _renamed(table: pa.Table, named: dict[str, str]) -> pa.Table:
    """Rename each column to its requested name; one column can have two requested names."""
    return pa.table({name: table[theirs] for name, theirs in named.items()})


# Not pyarrow's JSON reader: it parses the label "2026-01-01" as a timestamp, and fails on a column with 7 and "7".
def _read_json_lines(content: bytes, shown: str, wanted: dict[str, str], separators: Mapping[str, str]) -> pa.Table:
    cells: dict[str, list[str | None]] = {name: [] for name in wanted.values()}
    columns: dict[str, None] = {}
    for number, row in _json_rows(content, shown):
        columns.update(dict.fromkeys(row))
        values = {composed(name): value for name, value in row.items()}
        for name in cells:
            value, place = values.get(composed(name)), f"{shown}: line {number}: {name}"
            if name in separators and isinstance(value, list):
                value = join_labels([_json_cell(each, place) for each in value], separators[name], place)
            cells[name].append(_json_cell(value, place))
    if columns:
        check_columns(shown, wanted, list(columns))
    return pa.table({name: pa.array(column, pa.string()) for name, column in cells.items()})


def _with_joined_lists(table: pa.Table, shown: str, separators: Mapping[str, str]) -> pa.Table:
    """Write cells that are lists as text."""
    for name, separator in separators.items():
        kind = table[name].type
        if pa.types.is_list(kind) or pa.types.is_large_list(kind):
            cells = table[name].cast(pa.list_(pa.string())).to_pylist()
            text = [None if cell is None else join_labels(cell, separator, f"{shown}: {name}") for cell in cells]
            table = table.set_column(table.column_names.index(name), name, pa.array(text, pa.string()))
    return table


def join_labels(labels: Sequence[str | None], separator: str, place: str) -> str:
    """Write a list of labels as text that can be split again.

    Raises:
        DataError: A label contains the separator.
    """
    given = [label for label in labels if label]
    odd = [label for label in given if separator in label]
    if odd:
        raise DataError(
            f"{place}: the label {odd[0]!r} contains {separator!r}, which separates labels. Set data.label_separator "
            "to text that no label contains."
        )
    return separator.join(given)


def _json_rows(content: bytes, shown: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the line number and the object of each line that is not blank."""
    for number, line in enumerate(io.BytesIO(content), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{shown}: line {number} is not valid JSON: {error}") from error
        if not isinstance(row, dict):
            raise DataError(f"{shown}: line {number} must be a JSON object, but is {type(row).__name__}.")
        yield number, row


def _json_cell(value: Any, place: str) -> str | None:
    # NaN, which Python's JSON writer uses for a missing value, is the only value that is not equal to itself.
    if value is None or value != value:
        return None
    if isinstance(value, dict | list):
        raise DataError(f"{place} holds {type(value).__name__}, but text is needed.")
    if isinstance(value, str) and re.search("[\ud800-\udfff]", value):
        raise DataError(f"{place} holds {value!a}, an unpaired surrogate, but text is needed.")
    return value if isinstance(value, str) else json.dumps(value)
