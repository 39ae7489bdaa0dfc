"""Locations: local paths, and URIs that fsspec opens, such as s3://bucket/clips or zip://a.wav::https://host/x.zip."""

from __future__ import annotations

import inspect
import os
import posixpath
import re
from pathlib import Path, PurePosixPath
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

import fsspec

from audiocls.errors import DataError, MissingExtraError
from audiocls.files.masking import masked
from audiocls.files.spelling import spelled_on_disk

Location = Path | str  # a str is a URI

_URI: Final = re.compile(r"(?P<before>(?:[\w+.-]{2,}::)*[\w+.-]{2,}://)(?P<path>.*?)(?P<after>::.*)?", re.DOTALL)
_LOCAL: Final = ("file://", "local://")
_WEB: Final = ("http://", "https://")
_ANOTHER: Final = {"fo", "fs", "target_protocol"}  # parameters by which fsspec passes on the next link of a chain


class _Parts(NamedTuple):
    before: str  # "zip://", or with a wrapper, "simplecache::s3://"
    path: str
    after: str  # "::https://host/x.zip", if the path is inside another file


def is_uri(text: str) -> bool:
    """Return whether a path has a scheme of two letters or more; C:// is a Windows drive."""
    return _URI.match(text) is not None


def localised(place: Location) -> Location:
    """Convert file:// URIs to absolute paths, and make paths absolute; leave other URIs unchanged."""
    if isinstance(place, Path):
        return place.absolute()
    parts = _split(place)
    return Path(file_system(place)[1]) if parts.before in _LOCAL and not parts.after else place


def on_disk(place: Location) -> Location:
    """Return a local path in the Unicode form that the disk uses; leave URIs unchanged."""
    return Path(spelled_on_disk(str(place))) if isinstance(place, Path) else place


def folder_of(place: Location) -> Location:
    """Return the folder that a file is in."""
    if isinstance(place, Path):
        return place.parent
    before, path, after = _split(place)
    path = path.partition("?")[0] if before in _WEB else path
    return f"{before}{posixpath.dirname(path)}{after}"


def joined(folder: Location, name: str) -> str:
    """Join a relative path to a folder; leave URIs and absolute paths unchanged."""
    if is_uri(name) or Path(name).is_absolute():
        return name
    if isinstance(folder, Path):
        return str(folder / name)
    before, path, after = _split(folder)
    return f"{before}{posixpath.join(path, name)}{after}"


def plain_below(place: str, folder: Location) -> str | None:
    """Return a path with ".." removed lexically if it lies below the folder, else None."""
    if isinstance(folder, Path):
        local = localised(place) if is_uri(place) else Path(place)
        if not isinstance(local, Path):
            return None
        plain = os.path.normpath(local)
        return plain if Path(plain).is_relative_to(os.path.normpath(folder)) else None
    if not is_uri(place):
        return None
    there, home = _split(place), _split(folder)
    if (there.before, there.after) != (home.before, home.after):
        return None
    # A server interprets %2e%2e as "..".
    path = _normal(unquote(there.path) if there.before in _WEB else there.path)
    if path.split("/")[0] == ".." or not PurePosixPath(path).is_relative_to(_normal(home.path)):
        return None
    return f"{there.before}{'/' * there.path.startswith('/')}{_normal(there.path)}{there.after}"


def _normal(path: str) -> str:
    return posixpath.normpath(path.lstrip("/")) if path.strip("/") else ""


def chain_fault(uri: str) -> str | None:
    """Return an error text if "::" is part of a name instead of separating the links of a chain, else None."""
    links = uri.split("::")[:-1]
    if all(_opens_another(link) for link in links):
        return None
    return "in a URI, '::' separates the links of a chain, as in zip://a.wav::s3://bucket/a.zip; rename the file"


def _opens_another(link: str) -> bool:
    """Return whether a link is an archive, cache or similar that reads its files from another file system."""
    try:
        known = fsspec.get_filesystem_class(link.partition("://")[0])
    except ImportError:  # raised again with a message when the URI is opened
        return True
    except ValueError:
        return False
    return any(not _ANOTHER.isdisjoint(inspect.signature(base.__init__).parameters) for base in known.__mro__)


def file_system(uri: str) -> tuple[Any, str]:
    """Return the fsspec file system of a URI, and the path in it.

    Raises:
        DataError: The scheme is unknown, or a chain is invalid.
        MissingExtraError: The package for the scheme is not installed.
    """
    fault = chain_fault(uri)
    if fault is not None:
        raise DataError(f"{masked(uri)}: {fault}.")
    try:
        found: tuple[Any, str] = fsspec.core.url_to_fs(uri)
    except ImportError as error:
        raise MissingExtraError(f"{masked(uri)}: {error}.") from error
    except ValueError as error:
        raise DataError(f"{masked(uri)}: {masked(str(error))}.") from error
    return found


def suffix_of(place: Location) -> str:
    """Return the suffix of a file name in lowercase, with its dot."""
    if isinstance(place, Path):
        return place.suffix.lower()
    before, path, _ = _split(place)
    return PurePosixPath(path.partition("?")[0] if before in _WEB else path).suffix.lower()


def _split(uri: str) -> _Parts:
    found = _URI.fullmatch(uri)
    if found is None:
        raise DataError(f"{masked(uri)}: not a URI.")
    return _Parts(found["before"], found["path"], found["after"] or "")
