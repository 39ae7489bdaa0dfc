"""The recordings that a command line names: files, folders, globs, tables and URIs."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from audiocls.errors import DataError, counted
from audiocls.files import (
    Location,
    file_system,
    folder_of,
    is_uri,
    joined,
    local_path,
    localised,
    masked,
    on_disk,
    spelled_on_disk,
    suffix_of,
)
from audiocls.sources import RECORDING_SUFFIXES, names_at, names_below, read_columns, text_cells

_TABLES: Final = frozenset({".csv", ".tsv", ".parquet", ".jsonl", ".ndjson"})
_KEY: Final = "FILES"


@dataclass(frozen=True, slots=True)
class Recordings:
    """Paths and URIs to classify, each once, and how many others were left out, by reason."""

    paths: list[str]
    left_out: dict[str, int]


def list_recordings(given: Iterable[str | Path], path_column: str = "path") -> Recordings:
    """List the recordings that are named, in the order of the names; those of a folder or a glob are sorted.

    Args:
        given: Each a file; a folder, of which all files with the suffix of a recording are taken; a glob, of which
            these are taken too, and all others if it names their suffix; a table (.csv, .tsv, .parquet, .jsonl); or a
            URI of any of these.
        path_column: Of the tables; relative paths start from the table.

    Raises:
        DataError: A folder or a table cannot be read, or nothing is found at all.
        MissingExtraError: The driver of a URI is not installed.
    """
    left_out: Counter[str] = Counter()
    paths: dict[str, str] = {}
    for each in given:
        for path in _expand(str(each), path_column, left_out):
            same = path if is_uri(path) else os.path.abspath(path)  # noqa: PTH100  # of a million paths
            left_out["duplicate"] += same in paths
            paths.setdefault(same, path)
    counted = {reason: count for reason, count in sorted(left_out.items()) if count}
    if not paths:
        others = ", ".join(f"{count} {reason}" for reason, count in counted.items())
        raise DataError(f"{_KEY}: no recordings found" + (f"; left out: {others}." if others else "."))
    return Recordings(list(paths.values()), counted)


def _expand(given: str, path_column: str, left_out: Counter[str]) -> Iterator[str]:
    local = local_path(given)
    if local is None:
        yield from _expand_uri(given, path_column, left_out)
        return
    local = Path(spelled_on_disk(str(local)))
    if local.is_dir():
        yield from _in_folder(local, left_out)
    elif local.suffix.lower() in _TABLES:
        yield from _in_table(local, path_column)
    elif glob.has_magic(given) and not local.exists():
        matched = (Path(path) for path in sorted(glob.glob(given, recursive=True)))  # noqa: PTH207  # also absolute
        yield from _of_glob(given, [str(path) for path in matched if path.is_file()], left_out)
    else:
        yield str(local)


def _expand_uri(uri: str, path_column: str, left_out: Counter[str]) -> Iterator[str]:
    if suffix_of(uri) in _TABLES:
        yield from _in_table(uri, path_column)
    elif suffix_of(uri) in RECORDING_SUFFIXES and "*" not in uri:
        yield uri
    elif "*" in uri:
        files, path = file_system(uri)
        found = (files.unstrip_protocol(name) for name in sorted(files.glob(path)) if not files.isdir(name))
        yield from _of_glob(uri, list(found), left_out)
    elif _is_folder(uri):
        yield from _in_folder(uri, left_out)
    else:
        yield uri


def _is_folder(uri: str) -> bool:
    files, path = file_system(uri)
    try:
        return bool(files.isdir(path))
    except OSError as error:
        raise DataError(f"{_KEY}: {masked(uri)}: cannot be listed: {masked(str(error))}.") from error


def _in_folder(folder: Location, left_out: Counter[str]) -> Iterator[str]:
    found = names_below(folder, _KEY) if isinstance(folder, Path) else names_at(folder)
    left_out.update(found.left_out)
    for name in _recordings_of(found.names, left_out):
        yield joined(folder, name)


def _of_glob(pattern: str, found: Sequence[str], left_out: Counter[str]) -> Iterator[str]:
    suffix = PurePosixPath(pattern).suffix
    if suffix and not glob.has_magic(suffix):
        yield from found
    else:
        yield from _recordings_of(found, left_out)


def _recordings_of(names: Iterable[str], left_out: Counter[str]) -> Iterator[str]:
    for name in names:
        if PurePosixPath(name).suffix.lower() in RECORDING_SUFFIXES:
            yield name
        else:
            left_out["other_suffix"] += 1


def _in_table(table: Location, path_column: str) -> Iterator[str]:
    file = on_disk(localised(table))
    shown, folder = masked(str(file)), folder_of(file)
    columns = read_columns(file, {"--path-column": path_column}, _KEY)
    paths = text_cells(shown, columns, path_column)
    empty = [row for row, path in enumerate(paths, start=1) if path is None]
    if empty:
        raise DataError(
            f"{shown}: {counted(len(empty), 'row has', 'rows have')} no {path_column}; "
            f"the first is data row {empty[0]}."
        )
    for path in filter(None, paths):
        found = joined(folder, path)
        yield found if is_uri(found) else spelled_on_disk(found)
