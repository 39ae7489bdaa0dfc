"""Clips in a folder: one directory per class, or file names from which a pattern extracts the label."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Final

import pandas as pd
from fsspec.utils import glob_translate

from audiocls.errors import DataError, counted, name_some
from audiocls.files import composed, joined, localised, masked, on_disk
from audiocls.params import FolderData
from audiocls.sources.columns import COLUMNS
from audiocls.sources.label_sets import by_label
from audiocls.sources.links import join_linked
from audiocls.sources.listing import Listed, Listing
from audiocls.sources.walking import RECORDING_SUFFIXES, Found, names_at, names_below

logger = logging.getLogger(__name__)

# Directories that operating systems and archive tools create; they are not classes.
NO_CLASSES: Final = frozenset(
    {"__MACOSX", "__pycache__", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found"}
)


def list_folder(params: FolderData) -> Listed:
    """List the recordings below a folder, which is a local path or an fsspec URI.

    Raises:
        DataError: The folder does not exist or cannot be listed.
        MissingExtraError: The package for the folder's URI scheme is not installed.
    """
    root = on_disk(localised(params.path))
    found = names_below(root) if isinstance(root, Path) else names_at(root)
    taken, skipped = _chosen(found, params)
    rows = [(composed(name), joined(root, name), *_label_and_group(composed(name), params)) for name in taken]
    unwritable = [ascii(clip_id) for clip_id, path, *_ in rows if re.search("[\ud800-\udfff]", path)]
    if unwritable:
        raise DataError(
            f"{masked(str(root))}: {counted(len(unwritable), 'file name is', 'file names are')} not UTF-8 and cannot "
            f"be stored in a table; rename them: {name_some(unwritable)}."
        )
    if skipped:
        logger.warning(
            "%s not that of a recording and no glob of `include` ends in it: %s",
            counted(
                len(skipped),
                "file was left out because its suffix is",
                "files were left out because their suffix is",
            ),
            name_some(skipped),
        )
    clips = pd.DataFrame(rows, columns=list(COLUMNS[:4]), dtype=object)
    if params.labels == "multi":
        clips = join_linked(clips, params)
    return Listed(clips, Listing(_empty_classes(found.folders, clips, params), dict(found.left_out)))


def _chosen(found: Found, params: FolderData) -> tuple[list[str], list[str]]:
    """Return the files to list and the files skipped because of their suffix; count what is left out."""
    is_wanted = _name_filter(params)
    wanted = [name for name in found.names if is_wanted(composed(name))]
    skipped = [name for name in wanted if not _is_recording(composed(name), params)]
    found.left_out.update({"filtered": len(found.names) - len(wanted), "other_suffix": len(skipped)})
    without = set(skipped)
    return [name for name in wanted if name not in without], skipped


def _is_recording(name: str, params: FolderData) -> bool:
    suffix = PurePosixPath(name).suffix
    return not suffix or suffix.lower() in RECORDING_SUFFIXES or _asks_for_suffix(params, name)


def _empty_classes(folders: Sequence[str], clips: pd.DataFrame, params: FolderData) -> tuple[str, ...]:
    """Return the class directories without a listed recording; with a pattern, directories are not classes.

    A directory that `include` and `exclude` filter out by its name is not returned: they would also filter out files
    named like those of the other classes.
    """
    if params.pattern is not None:
        return ()
    is_wanted, ids = _name_filter(params), [clip_id.partition("/") for clip_id in clips["clip_id"]]
    rests = {rest for _, slash, rest in ids if slash}
    asked = {composed(glob).split("/")[0] for glob in params.include}
    labels = {composed(folder).strip(): composed(folder) for folder in folders if folder not in NO_CLASSES}
    found = set(by_label(clips)["label"])
    empty = {label: folder for label, folder in labels.items() if label and label not in found}
    meant = sorted(
        label for label, folder in empty.items() if folder in asked or any(is_wanted(f"{folder}/{r}") for r in rests)
    )
    if meant:
        logger.warning("class directories without any listed recording: %s", name_some(meant))
    return tuple(meant)


def _name_filter(params: FolderData) -> Callable[[str], bool]:
    """Return a predicate that says whether `include` and `exclude` keep a path below the root."""
    include = [re.compile(glob_translate(composed(glob))) for glob in params.include or ["**"]]
    exclude = [re.compile(glob_translate(composed(glob))) for glob in params.exclude]
    return lambda name: any(glob.match(name) for glob in include) and not any(glob.match(name) for glob in exclude)


def _asks_for_suffix(params: FolderData, name: str) -> bool:
    """Return whether a glob of `include` names a path's suffix, as **/*.raw does and noisy/** does not."""
    # Try a suffix that no glob can name: text in a params file never contains a zero byte.
    other = PurePosixPath(name).with_suffix(".\0").as_posix()
    globs = [re.compile(glob_translate(composed(glob))) for glob in params.include]
    return any(glob.match(name) and not glob.match(other) for glob in globs)


def _label_and_group(clip_id: str, params: FolderData) -> tuple[str | None, str]:
    path = PurePosixPath(clip_id)
    label = path.parts[0].strip() or None if len(path.parts) > 1 else None
    group = path.parent.as_posix() if params.group_by == "folder" else clip_id
    if params.pattern is None:
        return label, group
    found = re.fullmatch(composed(params.pattern), clip_id)
    named = {name: (text or "").strip() for name, text in found.groupdict().items()} if found else {}
    return named.get("label") or None, named.get("group") or group
