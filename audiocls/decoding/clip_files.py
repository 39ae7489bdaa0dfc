"""The files that clips are read from: local paths, or URIs that fsspec supports.

A file counts as unchanged if its size, its modification time and its ETag, if any, are the same.
"""

from __future__ import annotations

import hashlib
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

# 8 channels of 64 bits at 192 kHz, or 64 channels of 32 bits at 48 kHz. No format needs more than raw samples.
MAX_BYTES_PER_SECOND: Final = 8 * 8 * 192_000
# For data other than audio: tags, cover images, chunks of audio editors.
MAX_OTHER_BYTES: Final = 64 * 1024 * 1024
LONG_BYTES: Final = 8 * 1024 * 1024
"""Larger local files are decoded block by block, which takes less memory, and for WAV of this size half as much time
again. It is 50 s of stereo WAV at 44.1 kHz, and 9 minutes of MP3 at 128 kbit/s."""

_MOST_AT_ONCE_BYTES: Final = 1 << 30
_CONNECTIONS: Final = 16
_TIMES: Final = ("mtime", "LastModified", "last_modified", "updated", "created")
_WEB: Final = ("http://", "https://")
_TRY_LATER: Final = (408, 425, 429)  # HTTP status codes, besides 500 and above
_CHANGED: Final = "the file changed while the store was filled; the next run reads it"


class FileFound(NamedTuple):
    """The state of a file, found without reading it; it has a `reason` if the file cannot be read."""

    path: str
    size_bytes: int
    modified_ns: int
    etag: str | None = None
    reason: str | None = None
    detail: str | None = None


def look_at_files(paths: Iterable[str], params: AudioParams) -> list[FileFound]:
    """Check every file without reading it.

    Raises:
        MissingExtraError: A URI's driver is not installed.
        StoreError: The server or storage of a URI does not respond.
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
    """Return the largest size in bytes of a file that can meet `max_file_seconds`."""
    return MAX_OTHER_BYTES + int(params.max_file_seconds * MAX_BYTES_PER_SECOND)


def read_file(found: FileFound) -> tuple[bytes, str | None]:
    """Return the bytes of a file, and an error text if it cannot be read or has changed since it was found."""
    local = local_path(found.path) if is_uri(found.path) else found.path
    if local is None:
        return _read_uri(found)
    try:
        # Read at most one byte more than expected, so that a growing file is not read to its end.
        content, status = _read_local(local, found.size_bytes + 1)
    except OSError as error:
        return b"", str(error.strerror)
    if (len(content), status.st_mtime_ns) != (found.size_bytes, found.modified_ns):
        return b"", _CHANGED
    return content, None


def long_file(found: FileFound) -> Path | None:
    """Return the path of a local file that is too large to be held as a whole; None for all others."""
    local = local_path(found.path) if is_uri(found.path) else found.path
    return Path(local) if local is not None and found.size_bytes > LONG_BYTES else None


def hash_file(found: FileFound, path: Path) -> tuple[str, str | None]:
    """Return the SHA-256 of a file, read block by block, and an error text as `read_file` does."""
    try:
        with path.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        return "", str(error.strerror)
    return digest, find_change(found, path)


def find_change(found: FileFound, path: Path) -> str | None:
    """Return an error text if a local file has changed since it was found."""
    try:
        status = path.stat()
    except OSError as error:
        return str(error.strerror)
    return None if (status.st_size, status.st_mtime_ns) == (found.size_bytes, found.modified_ns) else _CHANGED


def _read_local(path: str | Path, most: int) -> tuple[bytes, os.stat_result]:
    if most > _MOST_AT_ONCE_BYTES:  # one system call might not read all of it
        with Path(path).open("rb") as opened:
            return opened.read(most), os.fstat(opened.fileno())
    # Without a file object, opening and reading a short clip takes two thirds of the time.
    handle = os.open(path, os.O_RDONLY)
    try:
        return os.read(handle, most), os.fstat(handle)
    finally:
        os.close(handle)


def _look_at(path: str) -> FileFound:
    file = (is_uri(path) and local_path(path)) or path
    try:
        # One call on the plain path, because it takes up nearly all the time of a second run.
        status = os.stat(file)  # noqa: PTH116
    except FileNotFoundError:
        link = Path(file)
        detail = f"a link to {link.readlink()}, which does not exist" if link.is_symlink() else "no such file"
        return _missing(path, detail)
    except OSError as error:
        return _missing(path, str(error.strerror))
    except ValueError as error:  # the path contains a zero byte
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
        return FileFound(uri, -1, -1, None, "not_a_file", f"a {about['type']} of unknown size")
    return FileFound(uri, about["size"], _modified_ns(about), _etag(about))


def _absence(uri: str, error: FileNotFoundError) -> str:
    """Return why the file is missing.

    Raises:
        StoreError: A web server did not respond or failed, which fsspec also reports as "not found".
    """
    cause = error.__cause__
    if cause is None or not any(scheme in uri for scheme in _WEB):
        return "no such object"
    status = getattr(cause, "status", 0)
    if not 400 <= status < 500 or status in _TRY_LATER:
        raise _no_answer(uri, cause) from error
    return "no such object" if status in (404, 410) else f"the server refuses access: {masked(str(cause))}"


def _no_answer(uri: str, error: BaseException) -> StoreError:
    message = masked(f"{type(error).__name__}: {error}")
    return StoreError(f"{masked(uri)}: the storage does not respond: {message}. Run again when it does.")


def _missing(path: str, detail: str) -> FileFound:
    return FileFound(path, -1, -1, None, "missing", detail)


def _within(limit: int, found: FileFound, params: AudioParams) -> FileFound:
    if found.size_bytes <= limit:
        return found
    detail = (
        f"{found.size_bytes / 1e9:,.1f} GB, not read: audio.max_file_seconds = {params.max_file_seconds:g} allows "
        f"at most {limit / 1e9:,.1f} GB, at {MAX_BYTES_PER_SECOND / 1e6:.1f} MB per second plus "
        f"{MAX_OTHER_BYTES / 1e6:.0f} MB for data other than audio"
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
