"""The files below a folder or a URI, in sorted order; needs no pandas."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple, NoReturn

from audiocls.errors import DataError
from audiocls.files import Location, file_system, masked

RECORDING_SUFFIXES: Final = frozenset(
    {
        ".wav", ".wave", ".bwf", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2", ".aif", ".aiff", ".aifc", ".au",
        ".snd", ".caf", ".w64", ".rf64", ".sph", ".nist", ".voc", ".m4a", ".m4b", ".aac", ".mp4", ".3gp", ".3g2",
        ".wma", ".asf", ".webm", ".weba", ".mka", ".wv", ".amr",
    }
)  # fmt: skip


class Found(NamedTuple):
    """The contents of a folder, with names in the Unicode form that the disk uses."""

    names: list[str]  # relative paths of files, sorted
    folders: list[str]  # names of direct subdirectories, with or without files
    left_out: Counter[str]


def names_below(root: Path, key: str = "data.path") -> Found:
    """Walk a folder in sorted order and follow links, except hidden entries and links to a parent folder.

    Args:
        root: The folder.
        key: What named it, for messages.

    Raises:
        DataError: It does not exist, or it or a folder below it cannot be listed.
    """

    def refuse(error: OSError) -> NoReturn:
        raise DataError(f"{key}: {error.filename}: the directory cannot be listed: {error.strerror}.") from error

    try:
        is_there = root.is_dir()
    except OSError as error:  # no permission to search the parent folder, or the name is too long
        refuse(error)
    if not is_there:
        raise _no_directory(root)
    found = Found([], [], Counter())
    for folder, folders, files in os.walk(root, onerror=refuse, followlinks=True):
        here = Path(folder)
        seen = sorted(name for name in folders if not name.startswith("."))
        hidden = sum(name.startswith(".") for name in (*folders, *files))
        folders[:] = [name for name in seen if not _leads_up(here / name)]
        found.left_out.update({"hidden": hidden, "links_to_above": len(seen) - len(folders)})
        below = here.relative_to(root)
        found.names.extend((below / name).as_posix() for name in sorted(files) if not name.startswith("."))
        if here == root:
            found.folders.extend(folders)
    return found


def names_at(root: str) -> Found:
    """List the files below a URI in sorted order, without hidden ones."""
    files, top = file_system(root)
    files.invalidate_cache()  # otherwise a long-lived process would not see new files
    try:
        there = files.isdir(top)
        paths = sorted(files.find(top)) if there else []
        entries = files.ls(top, detail=True) if there else []
    except OSError as error:
        raise DataError(f"{masked(root)}: the directory cannot be listed: {masked(str(error))}.") from error
    if not there:
        raise _no_directory(root)
    # Cloud consoles store an empty object such as "clips/yes/" for each folder created by hand.
    names = [path.removeprefix(top).lstrip("/") for path in paths if path != top and not path.endswith("/")]
    shown = [name for name in names if not any(part.startswith(".") for part in PurePosixPath(name).parts)]
    folders = (entry["name"] for entry in entries if entry["type"] == "directory")
    tops = {path.removeprefix(top).strip("/").partition("/")[0] for path in folders}
    tops |= {path.removeprefix(top).lstrip("/").partition("/")[0] for path in paths if path.endswith("/")}
    kept = sorted(name for name in tops if name and not name.startswith("."))
    return Found(shown, kept, Counter({"hidden": len(names) - len(shown)}))


def _no_directory(root: Location) -> DataError:
    return DataError(f"data.path = {masked(str(root))}: no such directory. It should contain one directory per class.")


def _leads_up(folder: Path) -> bool:
    return folder.is_symlink() and folder.parent.resolve().is_relative_to(folder.resolve())
