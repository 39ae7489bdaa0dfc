"""Checks that a run can write to the paths in its params before it starts. Nothing is created."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from audiocls.errors import ParamsError
from audiocls.files import database_file, local_path
from audiocls.params import RunParams

# If the process has changed its user, the permissions of the new user apply.
_EFFECTIVE = os.access in os.supports_effective_ids

_LONGEST_NAME = 255  # of a file or a folder, on the file systems of Linux and macOS
_TOO_LONG = f"a name in it is longer than {_LONGEST_NAME} bytes"
_SQLITE = b"SQLite format 3\0"


def check_writable(params: RunParams) -> None:
    """Check the workspace, the store of decoded audio and MLflow's database.

    Raises:
        ParamsError: At least one cannot be written; names every such key, its path and the reason.
    """
    faults = list(_faults(params))
    if faults:
        raise ParamsError("\n".join(faults))


def _faults(params: RunParams) -> Iterator[str]:
    store = local_path(params.audio.store) if params.audio.store else None
    for key, folder in (("workspace", params.workspace), ("audio.store", store)):
        fault = folder and folder_fault(folder)
        if fault:
            yield f"{key} = {folder}: {fault}. Correct it, or choose another folder."
    file = database_file(params.tracking_uri)
    is_own = params.tracking.uri is None
    fault = None if file is None or (is_own and folder_fault(params.workspace)) else _file_fault(file)
    if fault:
        key = f"workspace = {params.workspace}" if is_own else f"tracking.uri = {params.tracking.uri}"
        yield f"{key}: {fault}. Correct it, or choose another database with tracking.uri."


def folder_fault(folder: Path) -> str | None:
    """Return why files cannot be written to a folder, which does not have to exist; None if they can."""
    if _is_too_long(folder):
        return _TOO_LONG
    nearest = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    if not nearest.exists():
        return f"{_named(nearest, folder)} is a link to {nearest.readlink()}, which does not exist"
    if not nearest.is_dir():
        return f"{_named(nearest, folder)} is a file, and a folder is needed"
    return None if _is_allowed(nearest, os.W_OK | os.X_OK) else f"{_named(nearest, folder)} {_refusal(nearest)}"


def _file_fault(file: Path) -> str | None:
    if _is_too_long(file):
        return _TOO_LONG
    if not os.path.lexists(file):
        return folder_fault(file.parent)
    if not file.exists():
        return f"{file} is a link to {file.readlink()}, which does not exist"
    if not file.is_file():
        return f"{file} is a folder, and a database is a file"
    if not _is_allowed(file, os.R_OK | os.W_OK):
        return f"{file} {_refusal(file)}"
    with file.open("rb") as opened:
        if opened.read(len(_SQLITE)) not in (b"", _SQLITE):
            return f"{file} is not an SQLite database"
    return folder_fault(file.parent)  # where SQLite keeps its journal


def _is_too_long(path: Path) -> bool:
    return any(len(os.fsencode(part)) > _LONGEST_NAME for part in path.parts)


def _is_allowed(path: Path, mode: int) -> bool:
    return os.access(path, mode, effective_ids=_EFFECTIVE)


def _refusal(path: Path) -> str:
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        return "is on a file system that is mounted read-only"
    return "cannot be written by this user (permission denied)"


def _named(nearest: Path, asked: Path) -> str:
    """Return the name of a parent folder, or "it" if it is the requested folder itself."""
    return "it" if nearest == asked else str(nearest)
