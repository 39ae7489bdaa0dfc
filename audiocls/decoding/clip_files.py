"""The files that clips are read from: paths of this machine, or any URI that fsspec knows.

A file is known again by its size and its time of change, or by its size and its ETag where its place gives one.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from fsspec.core import url_to_fs

from audiocls.errors import StoreError, UserMistake
from audiocls.files import chain_fault, is_uri, local_path, masked, missing_drivers_named
from audiocls.params import AudioParams

# 8 channels of 64 bits at 192 kHz, or 64 channels of 32 bits at 48 kHz. No format is larger than what it holds.
MAX_BYTES_PER_SECOND: Final = 8 * 8 * 192_000
# What is no audio: tags, pictures of covers, chunks of editors.
MAX_OTHER_BYTES: Final = 64 * 1024 * 1024
_MOST_AT_ONCE_BYTES: Final = 1 << 30
_CONNECTIONS: Final = 16
_TIMES: Final = ("mtime", "LastModified", "last_modified", "updated", "created")
_WEB: Final = ("http://", "https://")
_TRY_LATER: Final = (408, 425, 429)  # of HTTP, beside 500 and more
_CHANGED: Final = "it changed while the store was filled; the next run reads it"


class FileFound(NamedTuple):
    """What a look at a file tells without reading it; a `reason` where there is nothing to read."""

    path: str
    size_bytes: int
    modified_ns: int
    etag: str | None = None
    reason: str | None = None
    detail: str | None = None


def look_at_files(paths: Iterable[str], params: AudioParams) -> list[FileFound]:
    """Look at every file, and read none.

    Raises:
        MissingExtraError: A URI's driver is not installed.
        StoreError: A URI's place does not answer.
    """
    paths = list(paths)
    remote = [path for path in paths if is_uri(path) and local_path(path) is None]
    limit = most_bytes(params)
    if not remote:
        return [_within(limit, _look_at(path), params) for path in paths]
    with ThreadPoolExecutor(_CONNECTIONS) as connections:
        found = dict(zip(remote, connections.map(_look_at_uri, remote), strict=True))
    return [_within(limit, found[path] if path in found else _look_at(path), params) for path in paths]


def most_bytes(params: AudioParams) -> int:
    """Return the size beyond which a file cannot be as short as it must be."""
    return MAX_OTHER_BYTES + int(params.max_file_seconds * MAX_BYTES_PER_SECOND)


def read_file(found: FileFound) -> tuple[bytes, str | None]:
    """Return the bytes of a file, and what is wrong where it cannot be read or is not the file that was found."""
    local = local_path(found.path) if is_uri(found.path) else found.path
    if local is None:
        return _read_uri(found)
    try:
        # One byte more than there should be, so that a file that grows and grows is not read to its end.
        content, status = _read_local(local, found.size_bytes + 1)
    except OSError as error:
        return b"", str(error.strerror)
    if (len(content), status.st_mtime_ns) != (found.size_bytes, found.modified_ns):
        return b"", _CHANGED
    return content, None


def _read_local(path: str | Path, most: int) -> tuple[bytes, os.stat_result]:
    if most > _MOST_AT_ONCE_BYTES:  # one call of the system might not read all of it
        with Path(path).open("rb") as opened:
            return opened.read(most), os.fstat(opened.fileno())
    # Short clips are opened and read in two thirds of the time without a file object.
    handle = os.open(path, os.O_RDONLY)
    try:
        return os.read(handle, most), os.fstat(handle)
    finally:
        os.close(handle)


def _look_at(path: str) -> FileFound:
    file = (is_uri(path) and local_path(path)) or path
    try:
        # The plain name and one call, as nearly all there is to a second run is this, for every file.
        status = os.stat(file)  # noqa: PTH116
    except FileNotFoundError:
        link = Path(file)
        detail = f"a link to {link.readlink()}, which is not there" if link.is_symlink() else "no such file"
        return _missing(path, detail)
    except OSError as error:
        return _missing(path, str(error.strerror))
    except ValueError as error:  # a path with a zero byte in it
        return _missing(path, str(error))
    if not stat.S_ISREG(status.st_mode):
        detail = "a directory" if stat.S_ISDIR(status.st_mode) else "neither a file nor a directory"
        return FileFound(path, -1, -1, None, "not_a_file", detail)
    return FileFound(path, status.st_size, status.st_mtime_ns)


def _look_at_uri(uri: str) -> FileFound:
    fault = chain_fault(uri)
    if fault is not None:
        return FileFound(uri, -1, -1, None, "unreadable", fault)
    try:
        with missing_drivers_named(uri):
            files, path = url_to_fs(uri)
            files.invalidate_cache()
        about = files.info(path)
    except FileNotFoundError as error:
        return _missing(uri, _absence(uri, error))
    except PermissionError as error:
        return _missing(uri, f"no permission: {error}")
    except UserMistake:
        raise
    except Exception as error:
        raise _no_answer(uri, error) from error
    if about["type"] != "file" or about["size"] is None:
        return FileFound(uri, -1, -1, None, "not_a_file", f"a {about['type']}, of no known size")
    return FileFound(uri, about["size"], _modified_ns(about), _etag(about))


def _absence(uri: str, error: FileNotFoundError) -> str:
    """Say why there is no file.

    Raises:
        StoreError: A web server did not answer or could not: fsspec's "not found" is of that, too.
    """
    cause = error.__cause__
    if cause is None or not any(scheme in uri for scheme in _WEB):
        return "no such object"
    status = getattr(cause, "status", 0)
    if not 400 <= status < 500 or status in _TRY_LATER:
        raise _no_answer(uri, cause) from error
    return "no such object" if status in (404, 410) else f"the server refuses it: {masked(str(cause))}"


def _no_answer(uri: str, error: BaseException) -> StoreError:
    said = masked(f"{type(error).__name__}: {error}")
    return StoreError(f"{masked(uri)}: its place does not answer: {said}. Run again when it does.")


def _missing(path: str, detail: str) -> FileFound:
    return FileFound(path, -1, -1, None, "missing", detail)


def _within(limit: int, found: FileFound, params: AudioParams) -> FileFound:
    if found.size_bytes <= limit:
        return found
    detail = (
        f"{found.size_bytes / 1e9:,.1f} GB, not read: audio.max_file_seconds = {params.max_file_seconds:g} takes "
        f"{limit / 1e9:,.1f} GB at most, at {MAX_BYTES_PER_SECOND / 1e6:.1f} MB a second and "
        f"{MAX_OTHER_BYTES / 1e6:.0f} MB for what is no audio"
    )
    return found._replace(reason="too_long", detail=detail)


def _modified_ns(about: dict[str, Any]) -> int:
    time = next((about[name] for name in _TIMES if about.get(name) is not None), None)
    if isinstance(time, datetime):
        return round(time.timestamp() * 1e6) * 1_000
    return round(time * 1e6) * 1_000 if isinstance(time, int | float) else -1


def _etag(about: dict[str, Any]) -> str | None:
    etag = about.get("ETag") or about.get("etag")
    return None if etag is None else str(etag)


def _read_uri(found: FileFound) -> tuple[bytes, str | None]:
    try:
        files, path = url_to_fs(found.path)
        content = files.cat_file(path, end=found.size_bytes + 1) if found.size_bytes else b""
        files.invalidate_cache()
        about = files.info(path)
    except FileNotFoundError as error:
        return b"", _absence(found.path, error)
    except PermissionError as error:
        return b"", str(error)
    except Exception as error:
        raise _no_answer(found.path, error) from error
    if (len(content), _modified_ns(about), _etag(about)) != (found.size_bytes, found.modified_ns, found.etag):
        return b"", _CHANGED
    return content, None
