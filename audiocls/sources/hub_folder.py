"""A local folder that `load_dataset` takes, compared with what came back of it.

The library sorts files into splits by their names: where one is named like a split (test_3.wav), those that are named
like none are dropped without a word (datasets 5.2). And it takes fewer suffixes for recordings than can be read here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from audiocls.errors import DataError, name_some
from audiocls.params import HubData
from audiocls.sources.folder import NO_CLASSES, RECORDING_SUFFIXES, names_below

if TYPE_CHECKING:
    from datasets import DatasetBuilder

_DETAIL: Final = "the library datasets puts it into none of its splits, as it goes by the names of files"


@dataclass(frozen=True, slots=True)
class LocalFolder:
    """The files of a folder, and those of them that the library reads; absolute paths."""

    root: Path
    read: frozenset[str]
    missed: tuple[str, ...]  # of the kinds that it reads
    recordings: tuple[str, ...]  # none where it reads tables
    has_metadata: bool  # a table in the folder names the clips

    @property
    def dropped(self) -> list[str]:
        """The recordings that come back in no split."""
        return [] if self.has_metadata else [path for path in self.recordings if path not in self.read]


def look_into(params: HubData, builder: DatasetBuilder) -> LocalFolder | None:
    """Look at the files of a local folder beside those that a builder reads.

    Returns:
        None where there is no such folder, or its README says which files belong to the data set.
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
    # It is given recordings of other suffixes too, and passes them over.
    read -= {path for path in recordings if _suffix(path) not in extensions}
    wanted = (path for path in files if _suffix(path) in extensions or Path(path).name in metadata)
    missed = tuple(path for path in wanted if path not in read)
    return LocalFolder(root, frozenset(read), missed, recordings, any(Path(path).name in metadata for path in read))


def check_given_splits(params: HubData, folder: LocalFolder) -> None:
    """Stop where tables belong to no split: how many clips they hold is not known.

    Raises:
        DataError: Names the files.
    """
    tables = sorted(set(folder.missed) - set(folder.recordings))
    if tables:
        raise DataError(
            f"data.name = {params.name}: the library datasets puts {len(tables)} files into no split, as it goes by "
            f"their names: {name_some(tables)}. Name each after its split, list them under `configs` in the folder's "
            "README.md, or leave data.splits out to have all files read and the split made."
        )


def dropped_rows(params: HubData, folder: LocalFolder) -> Iterator[tuple[str | None, ...]]:
    """Yield a row of the manifest for each recording that came back in no split; its directory is the label.

    Where the split is to be made, they are clips like the others. Where it is given, they belong to none.
    """
    refusal = (None, None) if params.splits is None else ("left_out", _DETAIL)
    for path in folder.dropped:
        name = Path(path).relative_to(folder.root)
        label = name.parent.name or None
        yield name.as_posix(), path, label, name.as_posix(), None, *refusal


def empty_classes(folder: LocalFolder) -> list[str]:
    """Name the directories beside those of the classes in which there is no recording."""
    if folder.has_metadata:
        return []
    full = {parent for path in folder.recordings for parent in Path(path).parents}
    beside = {Path(path).parent.parent for path in folder.recordings} - set(folder.root.parents)
    entries = (entry for parent in sorted(beside) for entry in sorted(parent.iterdir()) if entry.is_dir())
    return [each.name for each in entries if each not in full and not _is_ignored(each.name)]


def _kinds(builder: DatasetBuilder) -> tuple[set[str], set[str]]:
    """Return the suffixes of recordings that a builder knows, and the names of tables about them."""
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
