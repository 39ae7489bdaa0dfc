"""A folder with a label file for each recording."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from audiocls.files import is_uri, local_path, masked
from audiocls.inference.answers import Answer
from audiocls.inference.choices import LabelFormat
from audiocls.inference.label_files import SUFFIXES, write_labels
from audiocls.inference.outputs import write_rows
from audiocls.inference.rows import REFUSED, refused_row
from audiocls.inference.segments import Segment

UNUSABLE: Final = "unusable.csv"
"""The table in the folder with the files that cannot be used, if there are any."""


def write_label_folder(
    folder: Path,
    paths: Sequence[str],
    answers: Iterable[tuple[str, Answer]],
    label_format: LabelFormat,
    highest_hz: float,
) -> None:
    """Write the segments of each recording into a file of its own.

    Args:
        folder: Is created. A label file is where the recording is below the folder that all recordings share.
        paths: Of all recordings.
        answers: With segments, of these paths in their order.
        label_format: Of the files.
        highest_hz: Half of the sample rate.
    """
    refused = []
    for name, (path, answer) in zip(label_names(paths, SUFFIXES[label_format]), answers, strict=True):
        target = folder / name
        if answer.reason is not None:
            refused.append(refused_row(REFUSED, path, answer))
            target.unlink(missing_ok=True)  # of an earlier run, when the recording could be used
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        write_labels([Segment(*part) for part in answer.parts], target, label_format, path, highest_hz)
    folder.mkdir(parents=True, exist_ok=True)
    if refused:
        write_rows(refused, REFUSED, folder / UNUSABLE)
    else:
        (folder / UNUSABLE).unlink(missing_ok=True)


def label_names(paths: Sequence[str], suffix: str) -> list[str]:
    """Return the name of each recording's label file, below the folder that all recordings share.

    The suffix takes the place of the recording's; if two names would be the same, all keep the recording's before it.
    """
    places = [_place_of(path) for path in paths]
    shared = len(PurePosixPath(os.path.commonpath([place.parent for place in places])).parts)
    below = [PurePosixPath(*place.parts[shared:]) for place in places]
    stems = [place.with_name(place.stem) for place in below]
    named = stems if len(set(stems)) == len(stems) else below
    return [f"{place}{suffix}" for place in named]


def _place_of(path: str) -> PurePosixPath:
    """Return a relative path that is as unique as the path or URI."""
    local = local_path(path) if is_uri(path) else path
    if local is not None:
        return PurePosixPath(*PurePosixPath(os.path.abspath(local)).parts[1:])  # noqa: PTH100  # it need not exist
    parts = masked(path).partition("://")[2].split("/")
    return PurePosixPath(*(part for part in parts if part not in ("", ".", "..")))
