"""The files of a local folder, compared with the files that `load_dataset` reads from it.

The library assigns files to splits by name. If one file is named like a split (test_3.wav), files that are not named
like any split are silently dropped (datasets 5.2). The library also knows fewer audio suffixes than audiocls.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from audiocls.errors import DataError, counted, name_some
from audiocls.params import HubData
from audiocls.sources.folder import NO_CLASSES
from audiocls.sources.walking import RECORDING_SUFFIXES, names_below

if TYPE_CHECKING:
    from datasets import DatasetBuilder

_DETAIL: Final = "the datasets library assigns it to no split, because it assigns files by name"


@dataclass(frozen=True, slots=True)
class LocalFolder:
    """The files of a folder, and which of them the library reads; absolute paths."""

    root: Path
    read: frozenset[str]
    missed: tuple[str, ...]  # not read, although the library reads files of this kind
    recordings: tuple[str, ...]  # empty if the library reads tables
    has_metadata: bool  # a table in the folder lists the clips

    @property
    def dropped(self) -> list[str]:
        """The recordings that the library assigns to no split."""
        return [] if self.has_metadata else [path for path in self.recordings if path not in self.read]


def look_into(params: HubData, builder: DatasetBuilder) -> LocalFolder | None:
    """Compare the files of a local folder with those that a builder reads.

    Returns:
        None if the folder does not exist, or if its README declares which files belong to the dataset.
    """
    from datasets.load import dataset_module_factory

    root = Path(params.name).absolute()
    if not root.is_dir() or dataset_module_factory(params.name).builder_configs_parameters.metadata_configs:
        return None
    files = tuple(_files_below(root))
    read = {str(path) for paths in (builder.config.data_files or {}).values() for path in paths}
    extensions, metadata = _kinds(builder)
    if not extensions:
        tables = {Path(path).suffix for path in read}
        missed = tuple(path for path in files if path not in read and Path(path).suffix in tables)
        return LocalFolder(root, frozenset(read), missed, (), has_metadata=False)
    recordings = tuple(path for path in files if _suffix(path) in RECORDING_SUFFIXES | extensions)
    # The builder also receives recordings with other suffixes, and ignores them.
    read -= {path for path in recordings if _suffix(path) not in extensions}
    wanted = (path for path in files if _suffix(path) in extensions or Path(path).name in metadata)
    missed = tuple(path for path in wanted if path not in read)
    return LocalFolder(root, frozenset(read), missed, recordings, any(Path(path).name in metadata for path in read))


def check_given_splits(params: HubData, folder: LocalFolder) -> None:
    """Raise if tables belong to no split, because the number of clips in them is unknown.

    Raises:
        DataError: Some tables belong to no split; the message names them.
    """
    tables = sorted(set(folder.missed) - set(folder.recordings))
    if tables:
        raise DataError(
            f"data.name = {params.name}: the datasets library assigns {counted(len(tables), 'file')} to no split, "
            f"because it assigns files by name: {name_some(tables)}. Name each file after its split, list the files "
            "under `configs` in the folder's README.md, or drop data.splits so that all files are read and split here."
        )


def dropped_rows(params: HubData, folder: LocalFolder) -> Iterator[tuple[str | None, ...]]:
    """Yield a manifest row for each recording that the library assigns to no split; its directory is the label.

    Without given splits, these are ordinary clips. With given splits, they are refused as `left_out`.
    """
    refusal = (None, None) if params.splits is None else ("left_out", _DETAIL)
    for path in folder.dropped:
        name = Path(path).relative_to(folder.root)
        label = name.parent.name or None
        yield name.as_posix(), path, label, name.as_posix(), None, *refusal


def empty_classes(folder: LocalFolder) -> list[str]:
    """Return the names of directories that are siblings of class directories and contain no recording."""
    if folder.has_metadata:
        return []
    full = {parent for path in folder.recordings for parent in Path(path).parents}
    beside = {Path(path).parent.parent for path in folder.recordings} - set(folder.root.parents)
    entries = (entry for parent in sorted(beside) for entry in sorted(parent.iterdir()) if entry.is_dir())
    return [each.name for each in entries if each not in full and not _is_ignored(each.name)]


def _kinds(builder: DatasetBuilder) -> tuple[set[str], set[str]]:
    """Return the audio suffixes and the metadata file names that a builder recognizes."""
    from datasets.packaged_modules.audiofolder.audiofolder import AudioFolder

    if not isinstance(builder, AudioFolder):
        return set(), set()
    return set(AudioFolder.EXTENSIONS), set(AudioFolder.METADATA_FILENAMES)


def _files_below(root: Path) -> Iterator[str]:
    from datasets.data_files import FILES_TO_IGNORE

    for name in names_below(root).names:
        path = Path(name)
        if path.name not in FILES_TO_IGNORE and not any(map(_is_ignored, path.parts)):
            yield str(root / name)


def _is_ignored(name: str) -> bool:
    return name.startswith((".", "__")) or name in NO_CLASSES


def _suffix(path: str) -> str:
    return Path(path).suffix.lower()
