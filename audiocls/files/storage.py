"""Storage locations: a local folder, or any location that fsspec supports, such as s3://bucket/prefix.

A local place is a plain `Path`, without any overhead. Any other place is a `UPath`, which has the same methods.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias

import fsspec
from fsspec.implementations.local import LocalFileSystem

from audiocls.errors import MissingExtraError, UserMistake
from audiocls.files.atomic import living_parts, replacing
from audiocls.files.masking import masked
from audiocls.files.places import is_uri

Place: TypeAlias = Any
"""A Path or a UPath. The type is Any because the two have no common base type."""

_LOCAL: Final = ("file", "local")
_HOME: Final = "store.txt"
_EXTRAS: Final = {"s3": "s3", "s3a": "s3"}


def local_path(text: str) -> Path | None:
    """Return the local path of a path or file:// URI; None for other URIs."""
    if not is_uri(text):
        return Path(text)
    return Path(LocalFileSystem._strip_protocol(text)) if text.partition("://")[0] in _LOCAL else None


def open_place(where: str | Path) -> Place:
    """Return the place that a path or a URI names.

    Raises:
        MissingExtraError: The URI's driver is not installed; the message says what to install.
        UserMistake: The protocol is unknown to fsspec.
    """
    local = local_path(str(where))
    if local is not None:
        return local
    from upath import UPath

    with missing_drivers_named(str(where)):
        fsspec.get_filesystem_class(str(where).partition("://")[0])
    # Other processes write there too, so cached listings may be stale.
    return UPath(str(where), use_listings_cache=False)


@contextmanager
def missing_drivers_named(uri: str) -> Iterator[None]:
    """Convert fsspec's error about a protocol without a driver into one that says what to install."""
    protocol = uri.partition("://")[0]
    try:
        yield
    except ImportError as error:
        extra = _EXTRAS.get(protocol)
        fix = f"pip install 'audiocls[{extra}]'" if extra else str(error)
        raise MissingExtraError(f"{masked(uri)}: reading and writing {protocol}:// needs a driver: {fix}") from error
    except ValueError as error:
        if "Protocol not known" not in str(error):
            raise
        raise UserMistake(f"{masked(uri)}: {protocol}:// is not a protocol that fsspec supports.") from error


@contextmanager
def writing(target: Place) -> Iterator[Path]:
    """Yield a local path to write to; if the block succeeds, the file appears at `target` atomically.

    An object store shows an object once it is uploaded completely.

    Raises:
        FullDiskError: There is no space left.
    """
    if isinstance(target, Path):
        with replacing(target) as part:
            yield part
        return
    with tempfile.TemporaryDirectory(prefix="audiocls-") as folder, replacing(Path(folder) / target.name) as part:
        yield part
        target.parent.mkdir(parents=True, exist_ok=True)
        target.fs.put_file(str(part), target.path)


def mark_used(path: Place) -> None:
    """Set the modification time of a file to now; it distinguishes old stores from stores in use."""
    if isinstance(path, Path):
        os.utime(path)
    else:
        path.write_bytes(path.read_bytes())


def clean_up(store: Place) -> None:
    """Remove the part files of killed writers from a local store; remote stores have none."""
    if isinstance(store, Path):
        for folder in (store, *store.glob("*/")):
            living_parts(folder)


def local_folder(store: Place, stores: Path) -> Path:
    """Return a local store itself, or the folder in `stores` that represents a remote store.

    Samples are memory-mapped from this folder; it records the URI of the store.
    """
    if isinstance(store, Path):
        return store
    folder = stores / f"{store.name}-{hashlib.sha256(str(store).encode()).hexdigest()[:8]}"
    for name, text in ((_HOME, str(store)), ("settings.json", (store / "settings.json").read_text())):
        with replacing(folder / name) as part:
            part.write_text(text)
    return folder


def home_of(folder: Path) -> Place:
    """Return the store that a folder from `local_folder` represents."""
    home = name_of_home(folder)
    return folder if home is None else open_place(home)


def name_of_home(folder: Place) -> str | None:
    """Return the URI of the store that a folder from `local_folder` represents; None for a store itself."""
    home = folder / _HOME
    return str(home.read_text()) if home.exists() else None
