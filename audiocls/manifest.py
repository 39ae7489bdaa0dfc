"""The manifest: a Parquet table with a row a clip, listed from a source without reading any audio.

Columns: `clip_id` (unique; the path as the source names it), `path` (absolute), `label` (null where there is none),
`group` (what must not straddle a split), `split` (null where it is still to be made). Sorted, so that the order never
depends on the file system.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from audiocls.atomic import write_table
from audiocls.errors import DataError, name_some
from audiocls.params import FolderData, SampleData, TableData
from audiocls.sample_corpus import VERSION, build_sample_corpus

logger = logging.getLogger(__name__)

COLUMNS = ("clip_id", "path", "label", "group", "split")
SPLITS = ("train", "validation", "test")
RECORDING_SUFFIXES = frozenset(
    {
        ".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf",
        ".w64", ".rf64", ".m4a", ".aac", ".mp4", ".wma", ".webm",
    }
)  # fmt: skip


def list_clips(params: FolderData | TableData | SampleData, workspace: Path) -> Path:
    """List the clips of a source; return the path of the manifest, which is named by its content.

    Raises:
        DataError: The source is not there, lacks a column, or has no clips.
        MissingExtraError: The sample corpus is asked for and the extra `sample` is not installed.
    """
    match params:
        case FolderData():
            clips = _list_folder(params)
        case TableData():
            clips = _list_table(params)
        case SampleData():
            clips = _list_table(_sample_table(params, workspace))
    if clips.empty:
        raise DataError(f"{_where(params)}: no clips found.")
    return _write_manifest(_numbered(clips), workspace)


def _where(params: FolderData | TableData | SampleData) -> str:
    return "the sample corpus" if isinstance(params, SampleData) else str(params.path)


def _list_folder(params: FolderData) -> pd.DataFrame:
    root = params.path.absolute()
    if not root.is_dir():
        raise DataError(f"data.path = {params.path}: no such directory. It should hold one directory a class.")
    rows, skipped = [], []
    for path in _files_below(root):
        if path.suffix.lower() not in RECORDING_SUFFIXES and path.suffix:
            skipped.append(path.relative_to(root))
            continue
        clip_id = path.relative_to(root).as_posix()
        label = path.relative_to(root).parts[0] if path.parent != root else None
        group = clip_id if params.group_by == "file" else path.relative_to(root).parent.as_posix()
        rows.append((clip_id, str(path), label, group, None))
    unwritable = [ascii(clip_id) for clip_id, path, *_ in rows if re.search("[\ud800-\udfff]", path)]
    if unwritable:
        raise DataError(
            f"{params.path}: {len(unwritable)} file names are not UTF-8, so that no table can hold them; "
            f"rename them: {name_some(unwritable)}."
        )
    if skipped:
        logger.warning(
            "%d files are no recordings by their names and were left out: %s", len(skipped), name_some(skipped)
        )
    return pd.DataFrame(rows, columns=list(COLUMNS), dtype=object)


def _files_below(root: Path) -> Iterator[Path]:
    """Walk in sorted order and through links, leaving out what is hidden and links to a folder above."""
    for folder, folders, files in os.walk(root, onerror=_refuse, followlinks=True):
        here = Path(folder)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and not _leads_up(here / name))
        yield from (here / name for name in sorted(files) if not name.startswith("."))


def _refuse(error: OSError) -> None:
    raise DataError(f"{error.filename}: the directory cannot be listed: {error.strerror}.") from error


def _leads_up(folder: Path) -> bool:
    return folder.is_symlink() and folder.parent.resolve().is_relative_to(folder.resolve())


def _list_table(params: TableData) -> pd.DataFrame:
    table = _read_table(params.path)
    wanted = {
        "path_column": params.path_column,
        "label_column": params.label_column,
        "group_column": params.group_column,
        "split_column": params.split_column,
    }
    _check_columns(params.path, {f"data.{key}": name for key, name in wanted.items() if name}, table.column_names)
    paths = _text(params, table, params.path_column)
    if paths.isna().any():
        rows = [int(row) + 1 for row in paths.index[paths.isna()]]
        raise DataError(f"{params.path}: {len(rows)} rows have no {params.path_column}: data rows {name_some(rows)}.")
    groups = _text(params, table, params.group_column) if params.group_column else paths
    return pd.DataFrame(
        {
            "clip_id": paths,
            "path": [str(params.path.absolute().parent / path) for path in paths],
            "label": _text(params, table, params.label_column),
            "group": groups.where(groups.notna(), paths),
            "split": _given_splits(params, table),
        }
    )


def _check_columns(path: Path, wanted: dict[str, str], columns: list[str]) -> None:
    missing = [f"{key} = {name}" for key, name in wanted.items() if name not in columns]
    if missing:
        raise DataError(f"{path}: no such column: {', '.join(missing)}. Its columns: {name_some(columns, 30)}.")
    twice = [f"{key} = {name}" for key, name in wanted.items() if columns.count(name) > 1]
    if twice:
        raise DataError(f"{path}: several columns have one name: {', '.join(twice)}. Rename all but one.")


def _read_table(path: Path) -> pa.Table:
    """Read a table; every cell of a CSV as text, so that a label 07 stays 07."""
    if not path.is_file():
        raise DataError(f"data.path = {path}: no such file.")
    try:
        match path.suffix.lower():
            case ".parquet":
                return pq.read_table(path)
            case ".csv":
                # A transcript may run over several lines.
                parse = pa.csv.ParseOptions(newlines_in_values=True)
                header = pa.csv.open_csv(path, parse_options=parse).schema.names
                convert = pa.csv.ConvertOptions(column_types=dict.fromkeys(header, pa.string()))
                return pa.csv.read_csv(path, parse_options=parse, convert_options=convert)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"data.path = {path}: the table cannot be read: {error}") from error
    raise DataError(f"data.path = {path}: a table is .csv or .parquet, and this one is {path.suffix or 'neither'}.")


def _text(params: TableData, table: pa.Table, name: str) -> pd.Series:
    """Return a column as text, stripped of white space; what is null, not a number or blank becomes None."""
    column = table[name]
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), None, column)
    try:
        text = pc.utf8_trim_whitespace(column.cast(pa.string()))
    except pa.ArrowException as error:
        raise DataError(f"{params.path}: the column {name} holds {column.type}, and text is needed.") from error
    return pd.Series([cell or None for cell in text.to_pylist()], dtype=object)


def _given_splits(params: TableData, table: pa.Table) -> pd.Series | None:
    if not params.split_column:
        return None
    splits = _text(params, table, params.split_column)
    odd = splits[~splits.isin(SPLITS)]
    if not odd.empty:
        values = [f"{value!r} ({count} rows)" for value, count in odd.fillna("").value_counts().items()]
        raise DataError(
            f"{params.path}: the column {params.split_column} must hold train, validation or test in every row; "
            f"it also holds {name_some(values)}."
        )
    return splits


def _sample_table(params: SampleData, workspace: Path) -> TableData:
    settings = params.model_dump(exclude={"source", "max_bad_fraction"})
    identity = json.dumps(settings | {"version": VERSION}, sort_keys=True)
    digest = hashlib.sha256(identity.encode()).hexdigest()[:12]
    manifest = build_sample_corpus(workspace / "sample" / digest, **settings)
    return TableData(source="table", path=manifest, group_column="group", max_bad_fraction=params.max_bad_fraction)


def _numbered(clips: pd.DataFrame) -> pd.DataFrame:
    """Sort by id, and give the second and later rows of one path an id of their own: "a.wav#2"."""
    clips = clips.sort_values(["clip_id", "label"], kind="stable", ignore_index=True)
    taken = set(clips["clip_id"])
    free: defaultdict[str, Iterator[str]] = defaultdict(lambda: (f"#{n}" for n in itertools.count(2)))
    for row in clips.index[clips.duplicated("clip_id")]:
        name = clips.at[row, "clip_id"]
        clips.at[row, "clip_id"] = next(name + end for end in free[name] if name + end not in taken)
    return clips[list(COLUMNS)]


def _write_manifest(clips: pd.DataFrame, workspace: Path) -> Path:
    schema = pa.schema([(name, pa.string()) for name in COLUMNS])
    table = pa.Table.from_pandas(clips, schema=schema, preserve_index=False)
    return write_table(table, workspace / "manifests" / f"{_digest(clips)}.parquet")


def _digest(clips: pd.DataFrame) -> str:
    lines = (json.dumps(row) for row in clips.itertuples(index=False, name=None))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
