"""Atomic writes: a file appears complete or not at all."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EDQUOT, EFBIG, ENOSPC
from pathlib import Path
from typing import Final

from audiocls.errors import FullDiskError

_FULL: Final = (ENOSPC, EDQUOT, EFBIG)
# Messages of safetensors, torch and SQLite in errors without an errno.
_FULL_TEXTS: Final = ("os error 28", "os error 27", "No space left", "PytorchStreamWriter failed", "disk is full")
# Locks on a shared disk may not be visible to other machines, so a part file from another machine is kept this long.
_FOREIGN_SECONDS: Final = 7 * 86_400.0


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside `target`; rename it to `target` if the block succeeds, else remove it.

    Raises:
        FullDiskError: There is no space left.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with told_when_full(target.parent, f"{target.name} was written"):
        part, handle = _open_part(target)
        try:
            yield part
            # mkstemp makes the file private, but every user with access to the folder must be able to read it.
            part.chmod(0o644)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
            os.close(handle)


def living_parts(folder: Path) -> list[Path]:
    """Remove the part files of killed writers from a folder; return those whose writers are still alive."""
    return [part for part in sorted(folder.glob(".*.part")) if not _remove_dead(part)]


def _open_part(target: Path) -> tuple[Path, int]:
    """Create a temporary file, locked while its writer lives: the system releases the lock of a killed process."""
    while True:
        prefix = f".{target.name}.{socket.gethostname()}."
        handle, name = tempfile.mkstemp(prefix=prefix, suffix=".part", dir=target.parent)
        with suppress(OSError):  # a disk without locks, on which no writer is ever considered dead
            fcntl.flock(handle, fcntl.LOCK_EX)
        # Between creation and locking, another process may have removed it as a dead writer's file.
        if os.fstat(handle).st_nlink:
            return Path(name), handle
        os.close(handle)


def _remove_dead(part: Path) -> bool:
    """Remove a part file whose writer is dead; return whether the file is gone."""
    try:
        with part.open("rb") as opened:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            foreign = f".{socket.gethostname()}." not in part.name
            if foreign and time.time() - os.fstat(opened.fileno()).st_mtime < _FOREIGN_SECONDS:
                return False
            part.unlink()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


@contextmanager
def told_when_full(folder: Path, while_doing: str) -> Iterator[None]:
    """Convert a write error of any library that is due to lack of space into a `FullDiskError`.

    Args:
        folder: The folder that is written to.
        while_doing: For the message, such as "model.safetensors was written".

    Raises:
        FullDiskError: There is no space left.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, FullDiskError) or not is_full(error):
            raise
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else "no space left"
        raise full_disk(folder, while_doing, reason) from error


def is_full(error: Exception) -> bool:
    """Return whether a write failed for lack of space."""
    if isinstance(error, OSError) and error.errno:
        return error.errno in _FULL
    return any(text in str(error) for text in _FULL_TEXTS)


def full_disk(folder: Path, while_doing: str, reason: str) -> FullDiskError:
    """Return the error for a full disk, with what to do."""
    free = shutil.disk_usage(folder).free
    return FullDiskError(
        f"{folder}: {reason} while {while_doing}; {free / 1e6:,.0f} MB are "
        "free there. Make room or choose another disk, and run it again: files that were written are kept."
    )
