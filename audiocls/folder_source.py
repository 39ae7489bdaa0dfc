"""Clips of a folder: a directory a class, or names that a pattern finds the label in."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Final, NoReturn

import pandas as pd
from fsspec.utils import glob_translate

from audiocls.columns import COLUMNS
from audiocls.data_params import FolderData
from audiocls.errors import DataError, name_some
from audiocls.masking import masked
from audiocls.places import Place, file_system, joined, localised

logger = logging.getLogger(__name__)

RECORDING_SUFFIXES: Final = frozenset(
    {
        ".wav", ".wave", ".bwf", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2", ".aif", ".aiff", ".aifc", ".au",
        ".snd", ".caf", ".w64", ".rf64", ".sph", ".nist", ".voc", ".m4a", ".m4b", ".aac", ".mp4", ".3gp", ".3g2",
        ".wma", ".asf", ".webm", ".weba", ".mka", ".wv", ".amr",
    }
)  # fmt: skip


def list_folder(params: FolderData) -> pd.DataFrame:
    """List the recordings below a folder, here or wherever fsspec reaches.

    Raises:
        DataError: There is no such folder, or it cannot be listed.
        MissingExtraError: The package that knows the folder's scheme is not installed.
    """
    root = localised(params.path)
    is_wanted = _name_filter(params)
    rows, skipped = [], []
    for name in _names_below(root) if isinstance(root, Path) else _names_at(root):
        if not is_wanted(name):
            continue
        suffix = PurePosixPath(name).suffix
        if suffix and suffix.lower() not in RECORDING_SUFFIXES and not _asks_for_suffix(params, name):
            skipped.append(name)
            continue
        label, group = _label_and_group(name, params)
        rows.append((name, joined(root, name), label, group))
    unwritable = [ascii(clip_id) for clip_id, path, *_ in rows if re.search("[\ud800-\udfff]", path)]
    if unwritable:
        raise DataError(
            f"{root}: {len(unwritable)} file names are not UTF-8, so that no table can hold them; "
            f"rename them: {name_some(unwritable)}."
        )
    if skipped:
        logger.warning(
            "%d files are no recordings by their names and were left out, as no glob of `include` ends in their "
            "suffix: %s",
            len(skipped),
            name_some(skipped),
        )
    return pd.DataFrame(rows, columns=list(COLUMNS[:4]), dtype=object)


def _name_filter(params: FolderData) -> Callable[[str], bool]:
    """Return what says of a path below the root whether `include` and `exclude` leave it in."""
    include = [re.compile(glob_translate(glob)) for glob in params.include or ["**"]]
    exclude = [re.compile(glob_translate(glob)) for glob in params.exclude]
    return lambda name: any(glob.match(name) for glob in include) and not any(glob.match(name) for glob in exclude)


def _asks_for_suffix(params: FolderData, name: str) -> bool:
    """Say whether a glob of `include` matches a path because of its suffix, as **/*.raw does and noisy/** does not."""
    # With a suffix that no glob asks for: no text of a params file holds a zero byte.
    other = PurePosixPath(name).with_suffix(".\0").as_posix()
    globs = [re.compile(glob_translate(glob)) for glob in params.include]
    return any(glob.match(name) and not glob.match(other) for glob in globs)


def _label_and_group(clip_id: str, params: FolderData) -> tuple[str | None, str]:
    path = PurePosixPath(clip_id)
    label = path.parts[0].strip() or None if len(path.parts) > 1 else None
    group = path.parent.as_posix() if params.group_by == "folder" else clip_id
    if params.pattern is None:
        return label, group
    found = re.fullmatch(params.pattern, clip_id)
    named = {name: (text or "").strip() for name, text in found.groupdict().items()} if found else {}
    return named.get("label") or None, named.get("group") or group


def _names_below(root: Path) -> Iterator[str]:
    """Walk in sorted order and through links, leaving out what is hidden and links to a folder above."""
    try:
        is_there = root.is_dir()
    except OSError as error:  # the folder it is in may not be searched, or its name is too long
        _refuse(error)
    if not is_there:
        raise _no_directory(root)
    for folder, folders, files in os.walk(root, onerror=_refuse, followlinks=True):
        here = Path(folder)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and not _leads_up(here / name))
        below = here.relative_to(root)
        yield from ((below / name).as_posix() for name in sorted(files) if not name.startswith("."))


def _names_at(root: str) -> Iterator[str]:
    """List what is below a URI, sorted, leaving out what is hidden."""
    files, top = file_system(root)
    files.invalidate_cache()  # or a process that lives long would not see what has come since
    try:
        found = sorted(files.find(top)) if files.isdir(top) else None
    except OSError as error:
        raise DataError(f"{masked(root)}: the directory cannot be listed: {masked(str(error))}.") from error
    if found is None:
        raise _no_directory(root)
    # Consoles keep an empty object, "clips/yes/", for each folder made by hand.
    names = (path.removeprefix(top).lstrip("/") for path in found if path != top and not path.endswith("/"))
    yield from (name for name in names if not any(part.startswith(".") for part in PurePosixPath(name).parts))


def _no_directory(root: Place) -> DataError:
    return DataError(f"data.path = {masked(str(root))}: no such directory. It should hold one directory a class.")


def _refuse(error: OSError) -> NoReturn:
    raise DataError(f"data.path: {error.filename}: the directory cannot be listed: {error.strerror}.") from error


def _leads_up(folder: Path) -> bool:
    return folder.is_symlink() and folder.parent.resolve().is_relative_to(folder.resolve())
