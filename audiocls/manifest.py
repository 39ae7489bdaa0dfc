"""The manifest: a Parquet table with a row a clip, listed from a source without reading any audio.

Columns: `clip_id` (unique; the path as the source names it), `path` (absolute), `label` (null where there is none),
`group` (what must not straddle a split), `split` (null where it is still to be made), `reason` and `detail` (null, or
why the clip goes to quarantine unread). Sorted, so that the order never depends on the file system.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import pandas as pd
import pyarrow as pa
from fsspec.utils import glob_translate

from audiocls.atomic import write_table
from audiocls.errors import DataError, name_some
from audiocls.hub_source import list_data_set
from audiocls.params import DataSource, FolderData, HubData, SampleData, TableData
from audiocls.sample_corpus import VERSION, build_sample_corpus
from audiocls.storage import is_uri
from audiocls.tables import read_columns, text_column

logger = logging.getLogger(__name__)

COLUMNS = ("clip_id", "path", "label", "group", "split")
REFUSAL = ("reason", "detail")
SPLITS = ("train", "validation", "test")
RECORDING_SUFFIXES = frozenset(
    {
        ".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf",
        ".w64", ".rf64", ".m4a", ".aac", ".mp4", ".wma", ".webm",
    }
)  # fmt: skip


def list_clips(params: DataSource, workspace: Path) -> Path:
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
        case HubData():
            clips = list_data_set(params, workspace)
        case SampleData():
            clips = _list_table(_sample_table(params, workspace))
    if clips.empty:
        raise DataError(f"{_where(params)}: no clips found.")
    return _write_manifest(_numbered(clips), workspace)


def _where(params: DataSource) -> str:
    match params:
        case SampleData():
            return "the sample corpus"
        case HubData():
            return params.name
    return str(params.path)


def _list_folder(params: FolderData) -> pd.DataFrame:
    root = params.path.absolute()
    if not root.is_dir():
        raise DataError(f"data.path = {params.path}: no such directory. It should hold one directory a class.")
    is_wanted = _name_filter(params)
    rows, skipped = [], []
    for path in _files_below(root):
        clip_id = path.relative_to(root).as_posix()
        if not is_wanted(clip_id):
            continue
        if path.suffix.lower() not in RECORDING_SUFFIXES and path.suffix:
            skipped.append(clip_id)
            continue
        label, group = _label_and_group(clip_id, params)
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


def _name_filter(params: FolderData) -> Callable[[str], bool]:
    """Return what says of a path below the root whether `include` and `exclude` leave it in."""
    include = [re.compile(glob_translate(glob)) for glob in params.include or ["**"]]
    exclude = [re.compile(glob_translate(glob)) for glob in params.exclude]
    return lambda name: any(glob.match(name) for glob in include) and not any(glob.match(name) for glob in exclude)


def _label_and_group(clip_id: str, params: FolderData) -> tuple[str | None, str]:
    path = PurePosixPath(clip_id)
    label = path.parts[0] if len(path.parts) > 1 else None
    group = path.parent.as_posix() if params.group_by == "folder" else clip_id
    if params.pattern is None:
        return label, group
    found = re.fullmatch(params.pattern, clip_id)
    named = {name: (text or "").strip() for name, text in found.groupdict().items()} if found else {}
    return named.get("label") or None, named.get("group") or group


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
    named = {
        "data.path_column": params.path_column,
        "data.label_column": params.label_column,
        "data.group_column": params.group_column,
        "data.split_column": params.split_column,
    }
    table = read_columns(params.path, {key: name for key, name in named.items() if name})
    paths = text_column(params.path, table, params.path_column)
    if paths.isna().any():
        rows = [int(row) + 1 for row in paths.index[paths.isna()]]
        raise DataError(f"{params.path}: {len(rows)} rows have no {params.path_column}: data rows {name_some(rows)}.")
    groups = text_column(params.path, table, params.group_column) if params.group_column else paths
    clips = pd.DataFrame(
        {
            "clip_id": paths,
            "path": [path if is_uri(path) else str(params.path.absolute().parent / path) for path in paths],
            "label": text_column(params.path, table, params.label_column),
            "group": groups.where(groups.notna(), paths),
            "split": _given_splits(params, table),
        }
    )
    return _refuse_outside(clips, params.path.absolute().parent) if params.stay_in_folder else clips


def _refuse_outside(clips: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Give a reason to the clips whose paths lead out of a folder, and make the other paths plain.

    Paths are compared as they are written, without "..", and plain is what is read of them: with "a" a link to
    elsewhere, "a/../b" means the folder's own "b". Links in the folder were put there by whoever owns it.
    """
    folder = Path(os.path.normpath(folder))
    clips["path"] = [os.path.normpath(path) for path in clips["path"]]
    detail = f"leads out of {folder}, and data.stay_in_folder is true"
    inside = [Path(path).is_relative_to(folder) for path in clips["path"]]
    refusals = [(None, None) if stays else ("outside_folder", detail) for stays in inside]
    return clips.join(pd.DataFrame(refusals, columns=list(REFUSAL), dtype=object))


def _given_splits(params: TableData, table: pa.Table) -> pd.Series | None:
    if not params.split_column:
        return None
    splits = text_column(params.path, table, params.split_column)
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
    clips = clips.reindex(columns=[*COLUMNS, *REFUSAL]).astype(object)
    return clips.where(clips.notna(), None)


def _write_manifest(clips: pd.DataFrame, workspace: Path) -> Path:
    schema = pa.schema([(name, pa.string()) for name in (*COLUMNS, *REFUSAL)])
    table = pa.Table.from_pandas(clips, schema=schema, preserve_index=False)
    return write_table(table, workspace / "manifests" / f"{_digest(clips)}.parquet")


def _digest(clips: pd.DataFrame) -> str:
    lines = (json.dumps(row) for row in clips.itertuples(index=False, name=None))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
