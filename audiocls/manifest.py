"""The manifest: a Parquet table with a row a clip, listed from a source without reading any audio.

Columns: `clip_id` (unique; the path as the source names it), `path` (absolute), `label` (null where there is none),
`group` (what must not straddle a split), `split` (null where it is still to be made). Sorted, so that the order never
depends on the file system.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
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
    if skipped:
        logger.warning(
            "%d files are no recordings by their names and were left out: %s", len(skipped), name_some(skipped)
        )
    return pd.DataFrame(rows, columns=list(COLUMNS), dtype=object)


def _files_below(root: Path) -> Iterator[Path]:
    """Walk in sorted order, leaving out what is hidden."""
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(folder) / name for name in sorted(files) if not name.startswith("."))


def _list_table(params: TableData) -> pd.DataFrame:
    table = _read_table(params.path)
    wanted = {
        "path_column": params.path_column,
        "label_column": params.label_column,
        "group_column": params.group_column,
        "split_column": params.split_column,
    }
    missing = [f"data.{key} = {name}" for key, name in wanted.items() if name and name not in table.columns]
    if missing:
        raise DataError(
            f"{params.path}: no such column: {', '.join(missing)}. Its columns: {name_some(table.columns, 30)}."
        )
    paths = _text(table[params.path_column])
    if paths.isna().any():
        rows = [int(row) + 1 for row in paths.index[paths.isna()]]
        raise DataError(f"{params.path}: {len(rows)} rows have no {params.path_column}: data rows {name_some(rows)}.")
    groups = _text(table[params.group_column]) if params.group_column else paths
    return pd.DataFrame(
        {
            "clip_id": paths,
            "path": [str(params.path.absolute().parent / path) for path in paths],
            "label": _text(table[params.label_column]),
            "group": groups.where(groups.notna(), paths),
            "split": _given_splits(params, table),
        }
    )


def _read_table(path: Path) -> pd.DataFrame:
    """Read every cell as text, so that a label 07 stays 07."""
    if not path.is_file():
        raise DataError(f"data.path = {path}: no such file.")
    try:
        if path.suffix.lower() == ".parquet":
            table = pq.read_table(path)
        elif path.suffix.lower() == ".csv":
            header = pa.csv.open_csv(path).schema.names
            convert = pa.csv.ConvertOptions(column_types=dict.fromkeys(header, pa.string()))
            table = pa.csv.read_csv(path, convert_options=convert)
        else:
            raise DataError(
                f"data.path = {path}: a table is .csv or .parquet, and this one is {path.suffix or 'neither'}."
            )
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"data.path = {path}: the table cannot be read: {error}") from error
    return table.to_pandas()


def _text(column: pd.Series) -> pd.Series:
    """Strip white space; what is null or blank becomes None."""
    text = column.map(lambda cell: str(cell).strip() if cell is not None and cell == cell else "")
    return text.map(lambda cell: cell or None).astype(object)


def _given_splits(params: TableData, table: pd.DataFrame) -> pd.Series | None:
    if not params.split_column:
        return None
    splits = _text(table[params.split_column])
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
    repeat = clips.groupby("clip_id").cumcount() + 1
    clips["clip_id"] = clips["clip_id"].where(repeat == 1, clips["clip_id"] + "#" + repeat.astype(str))
    return clips[list(COLUMNS)]


def _write_manifest(clips: pd.DataFrame, workspace: Path) -> Path:
    schema = pa.schema([(name, pa.string()) for name in COLUMNS])
    table = pa.Table.from_pandas(clips, schema=schema, preserve_index=False)
    return write_table(table, workspace / "manifests" / f"{_digest(clips)}.parquet")


def _digest(clips: pd.DataFrame) -> str:
    lines = ("\x1f".join("" if cell is None else str(cell) for cell in row) for row in clips.itertuples(index=False))
    return hashlib.sha256("\x1e".join(lines).encode()).hexdigest()[:16]
