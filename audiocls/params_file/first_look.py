"""A first look at a folder or a table of recordings: what it holds, and the section `data` that reads it.

No audio is decoded; of some files the header is read, for their length.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

import pandas as pd
import soundfile

from audiocls.errors import DataError, counted, name_some, visible
from audiocls.files import Location, folder_of, is_uri, joined, localised, masked, suffix_of
from audiocls.params import FolderData
from audiocls.sources import (
    SPLITS,
    TABLE_SUFFIXES,
    column_names,
    guess_column,
    guess_group,
    guess_label,
    list_folder,
    name_pattern,
    read_columns,
    stem,
    text_cells,
)

_SPLIT_FOLDERS: Final = {"train", "training", "test", "testing", "val", "valid", "validation", "dev", "eval"}
_MEASURED: Final = 50
_SHORTEST, _LONGEST = 0.5, 10.0  # seconds of the model's input that are proposed


@dataclass(frozen=True, slots=True)
class FirstLook:
    """What was seen, a sentence each, and what follows from it."""

    data: dict[str, Any]  # the section `data`
    seen: tuple[str, ...]
    labels: Counter[str]
    max_seconds: float | None


def look_at(path: str) -> FirstLook:
    """Look at a folder or a table.

    Raises:
        DataError: It is not there, holds no recordings, or does not say which class they are of.
    """
    place = localised(path if is_uri(path) else Path(path))
    is_folder = isinstance(place, Path) and place.is_dir()
    is_table = suffix_of(place) in TABLE_SUFFIXES and not is_folder
    data, clips, remarks = _table(path, place) if is_table else _folder(path)
    labels = Counter(clips["label"].dropna())
    if not labels:
        raise DataError(f"{masked(path)}: no recording has a label. Name the classes in a table: path,label.")
    unlabelled = len(clips) - labels.total()
    if unlabelled:
        remarks.append(f"{counted(unlabelled, 'clip has', 'clips have')} no label, and would be quarantined.")
    max_seconds, lengths = _lengths(clips["path"].drop_duplicates().tolist())
    seen = (
        f"{counted(len(clips), 'clip')} of {counted(len(labels), 'class')}: {_describe(labels)}.",
        *remarks,
        *lengths,
    )
    return FirstLook(data, tuple(map(visible, seen)), labels, max_seconds)


def _describe(labels: Counter[str]) -> str:
    return name_some(f"{label} ({count:,})" for label, count in labels.most_common())


def _folder(path: str) -> tuple[dict[str, Any], pd.DataFrame, list[str]]:
    data: dict[str, Any] = {"source": "folder", "path": path}
    clips = _list(data)
    if clips.empty:
        raise DataError(f"{masked(path)}: no recordings found. Name a folder of them, or a table with a row a clip.")
    remarks: list[str] = []
    names = clips["clip_id"].tolist()
    if not any("/" in name for name in names):
        pattern = _label_in_names(path, names)
        remarks.append("Labels are taken from the file names: check data.pattern.")
    else:
        depth, why = _depth_of_labels(names)
        remarks += why
        pattern = "[^/]+/" * depth + "(?P<label>[^/]+)/"
        labels = [PurePosixPath(name).parts[depth] for name in names]
        group, said = _group_in_names(names, labels, pattern, depth)
        remarks.append(said)
        data |= group
        pattern = "" if "pattern" in group or not depth else f"{pattern}.+"
    if pattern:
        data["pattern"] = pattern
    return data, _list(data), remarks


def _list(data: dict[str, Any]) -> pd.DataFrame:
    return list_folder(FolderData.model_validate(data)).clips


def _label_in_names(path: str, names: Sequence[str]) -> str:
    """Return the pattern for files that lie in one folder."""
    label = guess_label([stem(name) for name in names])
    if label is None:
        raise DataError(
            f"{masked(path)}: there is neither a directory a class nor a part of the file names that could be the "
            "label. Sort the files into directories, or name their classes in a table: path,label."
        )
    group = guess_group([stem(name) for name in names], label.values)
    return name_pattern(label=label) if group is None else name_pattern(label=label, group=group)


def _depth_of_labels(names: Sequence[str]) -> tuple[int, list[str]]:
    """Return how many directories stand above those of the classes."""
    depth, remarks = 0, []
    paths = [PurePosixPath(name).parts for name in names]
    while all(len(parts) > depth + 2 for parts in paths):
        here = {parts[depth].lower() for parts in paths}
        if here <= _SPLIT_FOLDERS:
            remarks.append(
                f"The directories {name_some(sorted(here))} are not taken as the split: it is made. To keep theirs, "
                "write a table with a column for it."
            )
        elif len(here) > 1:
            break
        depth += 1
    return depth, remarks


def _group_in_names(names: Sequence[str], labels: Sequence[str], before: str, depth: int) -> tuple[dict[str, Any], str]:
    """Return the keys of `data` that say what must not straddle a split, and what is to be said of it."""
    folders = {PurePosixPath(name).parent for name in names}
    if len(folders) > len(set(labels)) and all(len(folder.parts) > depth + 1 for folder in folders):
        return {"group_by": "folder"}, f"Files of one directory are kept in one split: {len(folders):,} groups."
    part = guess_group([stem(name) for name in names], labels)
    if part is not None:
        pattern = rf"{before}(?:.+/)?{name_pattern(group=part)}"
        if all(re.fullmatch(pattern, name) for name in names):
            groups = name_some(sorted(set(part.values)), most=5)
            return {"pattern": pattern}, f"{len(set(part.values)):,} groups are taken from the file names: {groups}."
    return {}, (
        "No groups were found: each file is its own. If a speaker or a recording stands in several files, say so with "
        "data.pattern or data.group_by, or the score will be too good."
    )


def _table(path: str, file: Location) -> tuple[dict[str, Any], pd.DataFrame, list[str]]:
    columns = column_names(file)
    found = {meaning: guess_column(meaning, columns) for meaning in ("path", "label", "group", "split", "start", "end")}
    for meaning in ("path", "label"):
        if found[meaning] is None:
            raise DataError(
                f"{masked(path)}: no column has a name for the {meaning} of a clip. Rename one to {meaning}. "
                f"Its columns: {name_some(columns, 30)}."
            )
    wanted = {meaning: column for meaning, column in found.items() if column}
    table = read_columns(file, {f"data.{meaning}_column": column for meaning, column in wanted.items()})
    place = masked(path)
    values = {m: pd.Series(text_cells(place, table, column), dtype=object) for m, column in wanted.items()}
    remarks = [f"Column of the {meaning}: {column}." for meaning, column in wanted.items()]
    if "split" in values and not values["split"].isin(SPLITS).all():
        remarks.append(f"{wanted.pop('split')} is not used: it holds other values than {', '.join(SPLITS)}.")
    if "group" not in wanted:
        remarks.append(
            "No column of groups was found: each file is its own. If a speaker or a recording stands in several, name "
            "its column in data.group_column, or the score will be too good."
        )
    folder = folder_of(file)
    paths = values["path"].map(lambda text: joined(folder, text), na_action="ignore")
    data = {"source": "table", "path": path} | {f"{meaning}_column": column for meaning, column in wanted.items()}
    return data, pd.DataFrame({"label": values["label"], "path": paths}), remarks


def _lengths(paths: Sequence[Any]) -> tuple[float | None, list[str]]:
    """Read the headers of some files; return the model's input that holds most of them, and what was seen."""
    local = [path for path in paths if path is not None and not is_uri(path)]
    some = local[:: max(1, len(local) // _MEASURED)][:_MEASURED]
    missing = sum(not Path(path).exists() for path in some)
    remarks = []
    if missing:
        remarks.append(f"{missing} of {counted(len(some), 'file')} that were looked for are not there, e.g. {some[0]}.")
    seconds = sorted(_headers(some))
    if not seconds:
        return None, remarks
    most = seconds[math.ceil(0.95 * len(seconds)) - 1]
    looked_at = counted(len(seconds), "file that was", "files that were")
    remarks.append(f"{seconds[0]:.1f} to {seconds[-1]:.1f} s long, by {looked_at} looked at.")
    return min(max(math.ceil(2 * most) / 2, _SHORTEST), _LONGEST), remarks


def _headers(paths: Sequence[str]) -> Iterator[float]:
    for path in paths:
        try:
            yield float(soundfile.info(path).duration)
        except (soundfile.SoundFileError, OSError):
            continue  # ingestion says what is wrong with it
