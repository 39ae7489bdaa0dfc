"""Recordings that links put into several class directories, which gives them several labels."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pandas as pd

from audiocls.files import is_uri
from audiocls.params import FolderData
from audiocls.sources.label_sets import with_label_sets


def join_linked(clips: pd.DataFrame, params: FolderData) -> pd.DataFrame:
    """Return one row per recording, with the labels of all its names; the first name by alphabet is its id.

    Args:
        clips: One row per name, with `clip_id`, `path`, `label` and `group`.
        params: Of the folder.
    """
    clips = clips.sort_values("clip_id", kind="stable", ignore_index=True)
    recording = clips["path"].map(_identity)
    first = clips[~recording.duplicated()]
    labels = clips.groupby(recording)["label"].agg(list)[recording[first.index]]
    named = zip(first["clip_id"], labels, strict=True)
    return with_label_sets(first, (_labels(clip_id, names, params) for clip_id, names in named))


def _identity(path: str) -> str:
    """Return the same text for all names of a file, whether they are symbolic or hard links."""
    if is_uri(path):
        return path
    try:
        status = Path(path).stat()
    except OSError:  # a broken link, which is quarantined as missing when it is decoded
        return path
    return f"{status.st_dev}:{status.st_ino}"


def _labels(clip_id: str, names: list[str | None], params: FolderData) -> list[str] | None:
    """Split the names of a recording into labels; None if a pattern matches none of its names."""
    given = [name for name in names if name]
    if not given:
        # Directly in the folder: none of the classes. A pattern that does not match says nothing.
        return [] if params.pattern is None and len(PurePosixPath(clip_id).parts) == 1 else None
    separator = params.label_separator
    parts = given if separator is None else [part for name in given for part in name.split(separator)]
    return [part.strip() for part in parts if part.strip()]
