"""Files that appear whole or not at all."""

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

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from audiocls.errors import FullDiskError

_FULL: Final = (ENOSPC, EDQUOT, EFBIG)
# A lock on a shared disk may not be seen from another machine: a part of another's is left alone for as long.
_FOREIGN_SECONDS: Final = 7 * 86_400.0


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside `target`; rename it over `target` when the block ends well, else remove it.

    Raises:
        FullDiskError: There is no space left for it.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with _told_when_full(target):
        part, handle = _open_part(target)
        try:
            yield part
            # mkstemp makes the file private; a store is read by whoever may read its folder.
            part.chmod(0o644)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
            os.close(handle)


def write_table(table: pd.DataFrame | pa.Table, target: Path) -> Path:
    """Write a table as zstd-compressed Parquet, whole or not at all."""
    if isinstance(table, pd.DataFrame):
        table = pa.Table.from_pandas(table, preserve_index=False)
    with replacing(target) as part:
        pq.write_table(table, part, compression="zstd")
    return target


def living_parts(folder: Path) -> list[Path]:
    """Remove what killed writers left in a folder; return the unfinished files whose writers live."""
    return [part for part in sorted(folder.glob(".*.part")) if not _remove_dead(part)]


def _open_part(target: Path) -> tuple[Path, int]:
    """Make a temporary file, locked while its writer lives: the system takes the lock off whoever is killed."""
    while True:
        prefix = f".{target.name}.{socket.gethostname()}."
        handle, name = tempfile.mkstemp(prefix=prefix, suffix=".part", dir=target.parent)
        with suppress(OSError):  # a disk without locks, on which none is ever taken for dead
            fcntl.flock(handle, fcntl.LOCK_EX)
        # Between its making and its locking somebody may have taken it for a dead writer's.
        if os.fstat(handle).st_nlink:
            return Path(name), handle
        os.close(handle)


def _remove_dead(part: Path) -> bool:
    """Remove an unfinished file whose writer is dead; return whether there is none any more."""
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
def _told_when_full(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        free = shutil.disk_usage(target.parent).free
        raise FullDiskError(
            f"{target.parent}: {os.strerror(error.errno)} while {target.name} was written; {free / 1e6:,.0f} MB are "
            "free there. Make room or choose another disk, and run it again: what is stored is whole, and stays."
        ) from error
