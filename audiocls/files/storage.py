"""Where a store lies: a folder of this machine, or any place that fsspec knows, such as s3://bucket/prefix.

A local place is a plain `Path` and takes no detour; any other is a `UPath`, which has the same methods.
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

from audiocls.errors import MissingExtraError, StoreError, UserMistake
from audiocls.files.atomic import living_parts, replacing
from audiocls.files.masking import masked
from audiocls.files.places import is_uri

Place: TypeAlias = Any
"""A Path or a UPath. Any, as the two have no type in common."""

_LOCAL: Final = ("file", "local")
_HOME: Final = "store.txt"
_EXTRAS: Final = {"s3": "s3", "s3a": "s3"}


def local_path(text: str) -> Path | None:
    """Return the path that a path or a file:// URI names, None for what is elsewhere."""
    if not is_uri(text):
        return Path(text)
    return Path(LocalFileSystem._strip_protocol(text)) if text.partition("://")[0] in _LOCAL else None


def open_place(where: str | Path) -> Place:
    """Return the place that a path or a URI names.

    Raises:
        MissingExtraError: The URI's driver is not installed; names what to install.
        UserMistake: Nobody knows such URIs.
    """
    local = local_path(str(where))
    if local is not None:
        return local
    from upath import UPath

    with missing_drivers_named(str(where)):
        fsspec.get_filesystem_class(str(where).partition("://")[0])
    # Others write there too, so that a listing of a moment ago is not to be trusted.
    return UPath(str(where), use_listings_cache=False)


@contextmanager
def missing_drivers_named(uri: str) -> Iterator[None]:
    """Turn what fsspec says of a protocol without a driver into what to install."""
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
        raise UserMistake(f"{masked(uri)}: {protocol}:// is no protocol that fsspec knows.") from error


def tables_in(folder: Place) -> list[Place]:
    """List the Parquet files of a folder by name; a folder that is not there has none."""
    if isinstance(folder, Path):
        return sorted(folder.glob("*.parquet"))
    try:
        listed = folder.fs.ls(folder.path, detail=False)
    except FileNotFoundError:
        return []
    return [folder / name for name in sorted(path.rsplit("/", 1)[-1] for path in listed) if name.endswith(".parquet")]


def damaged(path: Place, error: Exception) -> StoreError:
    """Make the error that says of a shard or a file table that it is damaged, and what to do."""
    return StoreError(
        f"{masked(str(path))}: cannot be read ({masked(str(error))}). Delete it; the next run writes it anew."
    )


@contextmanager
def writing(target: Place) -> Iterator[Path]:
    """Yield a local path to write to; what is there when the block ends well appears at `target` as a whole.

    An object store shows an object when all of it has come.

    Raises:
        FullDiskError: There is no space left for it.
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
    """Give a file the time of now, by which old stores are told from those in use."""
    if isinstance(path, Path):
        os.utime(path)
    else:
        path.write_bytes(path.read_bytes())


def clean_up(store: Place) -> None:
    """Remove what killed writers left in the folders of a store; elsewhere than on this machine they leave nothing."""
    if isinstance(store, Path):
        for folder in (store, *store.glob("*/")):
            living_parts(folder)


def local_folder(store: Place, stores: Path) -> Path:
    """Return a store itself where it is of this machine, else the folder of `stores` that stands for it.

    Samples are mapped from there; the folder remembers where they come from.
    """
    if isinstance(store, Path):
        return store
    folder = stores / f"{store.name}-{hashlib.sha256(str(store).encode()).hexdigest()[:8]}"
    for name, text in ((_HOME, str(store)), ("settings.json", (store / "settings.json").read_text())):
        with replacing(folder / name) as part:
            part.write_text(text)
    return folder


def home_of(folder: Path) -> Place:
    """Return the store that a folder made by `local_folder` stands for."""
    home = name_of_home(folder)
    return folder if home is None else open_place(home)


def name_of_home(folder: Place) -> str | None:
    """Return the URI of the store that a folder made by `local_folder` stands for, None for a store itself."""
    home = folder / _HOME
    return str(home.read_text()) if home.exists() else None
