"""The labels of a table's rows if a clip can have several: in one cell, in several columns, or a column per class."""

from __future__ import annotations

from typing import Final

import pandas as pd
import pyarrow as pa

from audiocls.errors import DataError, name_some
from audiocls.params import TableData
from audiocls.sources.label_names import label_text
from audiocls.sources.tables import text_cells

_SEPARATOR: Final = ","
_YES: Final = frozenset({"1", "1.0", "true", "yes"})
_NO: Final = frozenset({"0", "0.0", "false", "no"})


def columns_of_labels(params: TableData) -> dict[str, str | None]:
    """Return the columns to read labels from, by the params key that names each."""
    columns = params.label_columns or params.class_columns
    if columns is None:
        named: dict[str, str | None] = {"data.label_column": params.label_column}
    else:
        key = "data.label_columns" if params.label_columns else "data.class_columns"
        named = {f"{key}.{i}": name for i, name in enumerate(columns)}
    return named | {"data.unknown_column": params.unknown_column}


def label_separators(params: TableData) -> dict[str, str]:
    """Return, by name of a column whose cells have several labels, the text between these."""
    if params.labels == "single" or params.events is not None:
        return {}
    several = [] if params.label_columns or params.class_columns else [params.label_column]
    several += [params.unknown_column] if params.unknown_column else []
    return dict.fromkeys(several, params.label_separator or _SEPARATOR)


def read_label_sets(place: str, table: pa.Table, params: TableData) -> dict[str, pd.Series]:
    """Return the columns `label`, `labels` and `unknown` of each row; `label` is null if all classes are unknown.

    Raises:
        DataError: A cell of a class column is neither yes, no nor empty, or a label is both given and unknown.
    """
    if params.class_columns:
        given, unknown = _by_class(place, table, params.class_columns)
    else:
        given = _given(place, table, params)
        unknown = [set() for _ in given]
        if params.unknown_column:
            unknown = _split(place, table, params.unknown_column, params)
    both = [row for row, (labels, others) in enumerate(zip(given, unknown, strict=True)) if labels & others]
    if both:
        raise DataError(
            f"{place}: {len(both)} rows have labels that {params.unknown_column} says are unknown: data rows "
            f"{name_some(row + 1 for row in both)}."
        )
    nothing_known = [params.class_columns is not None and others == set(params.class_columns) for others in unknown]
    texts = [None if blank else label_text(labels) for labels, blank in zip(given, nothing_known, strict=True)]
    return {
        "label": pd.Series(texts, dtype=object),
        "labels": pd.Series([sorted(labels) for labels in given], dtype=object),
        "unknown": pd.Series([sorted(labels) for labels in unknown], dtype=object),
    }


def _given(place: str, table: pa.Table, params: TableData) -> list[set[str]]:
    if params.label_columns is None:
        return _split(place, table, params.label_column, params)
    columns = [text_cells(place, table, name) for name in params.label_columns]
    return [{label for label in row if label} for row in zip(*columns, strict=True)]


def _split(place: str, table: pa.Table, name: str, params: TableData) -> list[set[str]]:
    separator = params.label_separator or _SEPARATOR
    cells = text_cells(place, table, name)
    return [{label.strip() for label in (cell or "").split(separator)} - {""} for cell in cells]


def _by_class(place: str, table: pa.Table, names: list[str]) -> tuple[list[set[str]], list[set[str]]]:
    given: list[set[str]] = [set() for _ in range(table.num_rows)]
    unknown: list[set[str]] = [set() for _ in range(table.num_rows)]
    for name in names:
        for row, cell in enumerate(text_cells(place, table, name)):
            if cell is None:
                unknown[row].add(name)
            elif cell.lower() in _YES:
                given[row].add(name)
            elif cell.lower() not in _NO:
                raise DataError(
                    f"{place}: data row {row + 1} has {cell!r} in the column {name}. A class column needs 1, true or "
                    "yes, 0, false or no, or an empty cell for unknown; if its cells are class names, use "
                    "data.label_columns."
                )
    return given, unknown
