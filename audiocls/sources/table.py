"""Clips in a table: each row is a clip, which is a file or a segment of a file."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pyarrow as pa

from audiocls.errors import DataError, counted, name_some
from audiocls.files import Location, folder_of, is_uri, joined, localised, masked, on_disk, plain_below, spelled_on_disk
from audiocls.params import TableData
from audiocls.sources.bounds import read_bounds
from audiocls.sources.columns import COLUMN, REFUSAL, SEGMENT, SPLITS
from audiocls.sources.events import gather_events
from audiocls.sources.listing import Listed
from audiocls.sources.table_labels import columns_of_labels, label_separators, read_label_sets
from audiocls.sources.tables import read_columns, text_cells


def list_table(params: TableData) -> Listed:
    """List the rows of a table.

    Raises:
        DataError: The table does not exist, lacks a column, or has a row without a path or with an invalid split.
        MissingExtraError: The package for the table's URI scheme is not installed.
    """
    file = on_disk(localised(params.path))
    place, folder = masked(str(file)), folder_of(file)
    table = read_columns(file, _wanted_columns(params), separators=label_separators(params))
    paths = _paths(place, table, params, folder)
    files = pd.Series([_file_of(folder, path) for path in paths], dtype=object)
    shown = paths.map(masked)
    groups = _text(place, table, params.group_column, len(paths))
    clips = pd.DataFrame(
        {
            "clip_id": shown,
            "path": files,
            **_label_columns(place, table, params),
            # Each file is one group, however its path is written.
            "group": groups.where(groups.notna(), shown.groupby(files.map(os.path.normpath)).transform("min")),
            "split": _given_splits(place, table, params),
            **{f"{COLUMN}{name}": _text_column(place, table, name) for name in params.columns},
        }
    )
    clips = _with_segments(clips, place, table, params)
    if params.events is not None:
        clips = gather_events(clips, params.events)
    return Listed(_refuse_outside(clips, folder) if params.stay_in_folder else clips)


def _file_of(folder: Location, path: str) -> str:
    """Return the location of a row's file, in the Unicode form that the disk uses."""
    file = joined(folder, path)
    return file if is_uri(file) else spelled_on_disk(file)


def _wanted_columns(params: TableData) -> dict[str, str]:
    named = {
        "data.path_column": params.path_column,
        **columns_of_labels(params),
        "data.group_column": params.group_column,
        "data.split_column": params.split_column,
        "data.start_column": params.start_column,
        "data.end_column": params.end_column,
        **{f"data.columns.{number}": name for number, name in enumerate(params.columns)},
    }
    return {key: name for key, name in named.items() if name}


def _label_columns(place: str, table: pa.Table, params: TableData) -> dict[str, pd.Series]:
    """Return the column `label`, and with several labels a clip those of `label_sets` as well."""
    if params.labels == "single" or params.events is not None:
        return {"label": _text_column(place, table, params.label_column)}
    return read_label_sets(place, table, params)


def _text_column(place: str, table: pa.Table, name: str, strip: bool = True) -> pd.Series:
    return pd.Series(text_cells(place, table, name, strip), dtype=object)


def _text(place: str, table: pa.Table, name: str | None, rows: int) -> pd.Series:
    """Return an optional column as text; all None if no name is given."""
    return _text_column(place, table, name) if name else pd.Series([None] * rows, dtype=object)


def _paths(place: str, table: pa.Table, params: TableData, folder: Location) -> pd.Series:
    paths = _text_column(place, table, params.path_column)
    if paths.isna().any():
        rows = [int(row) + 1 for row in paths.index[paths.isna()]]
        raise DataError(
            f"{place}: {counted(len(rows), 'row has', 'rows have')} no {params.path_column}: data rows "
            f"{name_some(rows)}."
        )
    # Leading and trailing white space usually comes from manual editing, but is sometimes part of the file name.
    written = _text_column(place, table, params.path_column, strip=False)
    meant = [path != bare and _is_here(_file_of(folder, path)) for path, bare in zip(written, paths, strict=True)]
    return paths.mask(pd.Series(meant, dtype=bool), written)


def _is_here(path: str) -> bool:
    return not is_uri(path) and Path(path).exists()


def _with_segments(clips: pd.DataFrame, place: str, table: pa.Table, params: TableData) -> pd.DataFrame:
    """Add the bounds of segments, also to the clip ids; invalid bounds get a reason."""
    if params.start_column is None and params.end_column is None:
        return clips
    starts, ends = (_text(place, table, name, len(clips)) for name in (params.start_column, params.end_column))
    bounds = [read_bounds(start, end) for start, end in zip(starts, ends, strict=True)]
    clips["clip_id"] += [bound.suffix for bound in bounds]
    return clips.join(pd.DataFrame(bounds).astype(dict.fromkeys(REFUSAL, object))[[*SEGMENT, *REFUSAL]])


def _refuse_outside(clips: pd.DataFrame, folder: Location) -> pd.DataFrame:
    """Give a reason to clips whose paths lead out of a folder, and normalize the other paths.

    Paths are normalized as text, without following links, and the normalized path is the one that is read: if "a" is
    a link to another folder, "a/../b" still means "b" in this folder. Links inside the folder are trusted.
    """
    inside = [plain_below(path, folder) for path in clips["path"]]
    outside = pd.Series([path is None for path in inside])
    detail = f"leads out of {masked(str(folder))}, and data.stay_in_folder is true"
    clips["path"] = [path or given for path, given in zip(inside, clips["path"], strict=True)]
    clips = clips.reindex(columns=list(dict.fromkeys([*clips.columns, *REFUSAL])))
    return clips.assign(
        reason=clips["reason"].mask(outside, "outside_folder"), detail=clips["detail"].mask(outside, detail)
    )


def _given_splits(place: str, table: pa.Table, params: TableData) -> pd.Series | None:
    if not params.split_column:
        return None
    splits = _text_column(place, table, params.split_column)
    odd = splits[~splits.isin(SPLITS)]
    if not odd.empty:
        values = [f"{value!r} ({counted(count, 'row')})" for value, count in odd.fillna("").value_counts().items()]
        raise DataError(
            f"{place}: the column {params.split_column} must hold train, validation or test in every row; "
            f"it also holds {name_some(values)}."
        )
    return splits
