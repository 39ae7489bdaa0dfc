"""Where things are: local paths, and URIs that fsspec opens, such as s3://bucket/clips or zip://a.wav::https://host/x.zip."""

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
_ANOTHER: Final = {"fo", "fs", "target_protocol"}  # how fsspec gives a link of a chain what comes after it


class _Parts(NamedTuple):
    before: str  # "zip://", or with what is put in front of it, "simplecache::s3://"
    path: str
    after: str  # "::https://host/x.zip", where the path is one inside of another file


def is_uri(text: str) -> bool:
    """Say whether a path has a scheme, of two letters or more: C:// is a disk of Windows."""
    return _URI.match(text) is not None


def localised(place: Location) -> Location:
    """Make a file:// URI the absolute path that it means, and any path absolute; leave other URIs as they are."""
    if isinstance(place, Path):
        return place.absolute()
    parts = _split(place)
    return Path(file_system(place)[1]) if parts.before in _LOCAL and not parts.after else place


def on_disk(place: Location) -> Location:
    """Return a local path as the disk spells it, composed or decomposed; leave URIs as they are."""
    return Path(spelled_on_disk(str(place))) if isinstance(place, Path) else place


def folder_of(place: Location) -> Location:
    """Return the folder that a file is in."""
    if isinstance(place, Path):
        return place.parent
    before, path, after = _split(place)
    path = path.partition("?")[0] if before in _WEB else path
    return f"{before}{posixpath.dirname(path)}{after}"


def joined(folder: Location, name: str) -> str:
    """Return a path that is relative to a folder as one that stands by itself; others stay as they are."""
    if is_uri(name) or Path(name).is_absolute():
        return name
    if isinstance(folder, Path):
        return str(folder / name)
    before, path, after = _split(folder)
    return f"{before}{posixpath.join(path, name)}{after}"


def plain_below(place: str, folder: Location) -> str | None:
    """Return a path without "..", as it is written, if it leads to somewhere below the folder; else None."""
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
    # A server takes %2e%2e for "..".
    path = _normal(unquote(there.path) if there.before in _WEB else there.path)
    if path.split("/")[0] == ".." or not PurePosixPath(path).is_relative_to(_normal(home.path)):
        return None
    return f"{there.before}{'/' * there.path.startswith('/')}{_normal(there.path)}{there.after}"


def _normal(path: str) -> str:
    return posixpath.normpath(path.lstrip("/")) if path.strip("/") else ""


def chain_fault(uri: str) -> str | None:
    """Say what is wrong with a URI in which "::" is part of a name, and not between the links of a chain."""
    links = uri.split("::")[:-1]
    if all(_opens_another(link) for link in links):
        return None
    return "in a URI '::' stands between the links of a chain, such as zip://a.wav::s3://bucket/a.zip; rename it"


def _opens_another(link: str) -> bool:
    """Say whether this is an archive, a cache or the like, which finds its files by another file system."""
    try:
        known = fsspec.get_filesystem_class(link.partition("://")[0])
    except ImportError:  # which is told where it is opened
        return True
    except ValueError:
        return False
    return any(not _ANOTHER.isdisjoint(inspect.signature(base.__init__).parameters) for base in known.__mro__)


def file_system(uri: str) -> tuple[Any, str]:
    """Return the fsspec file system of a URI, and the path in it.

    Raises:
        DataError: There is no such scheme, or a chain is none.
        MissingExtraError: The package that knows the scheme is not installed.
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
    """Return the suffix of a file's name, in small letters, with its dot."""
    if isinstance(place, Path):
        return place.suffix.lower()
    before, path, _ = _split(place)
    return PurePosixPath(path.partition("?")[0] if before in _WEB else path).suffix.lower()


def _split(uri: str) -> _Parts:
    found = _URI.fullmatch(uri)
    if found is None:
        raise DataError(f"{masked(uri)}: is no URI.")
    return _Parts(found["before"], found["path"], found["after"] or "")
