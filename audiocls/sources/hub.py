"""Clips of a `datasets` dataset: from the Hub, a `save_to_disk` folder, or a local folder that `load_dataset` reads.

Audio is not decoded here, so neither torchcodec nor FFmpeg is needed. Audio stored as bytes is written to the workspace
once, named by the hash of the bytes. Audio stored as a path stays where it is.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from errno import ENAMETOOLONG
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Final

import pandas as pd

from audiocls.errors import DataError, counted
from audiocls.files import replacing, spelled_on_disk
from audiocls.params import HubData
from audiocls.sources.hub_folder import LocalFolder, check_given_splits, dropped_rows, empty_classes, look_into
from audiocls.sources.label_sets import by_label, with_label_sets
from audiocls.sources.listing import Listed, Listing
from audiocls.sources.tables import check_columns

if TYPE_CHECKING:
    from datasets import Dataset

logger = logging.getLogger(__name__)

_BATCH_CLIPS: Final = 64  # limits memory: all audio bytes of a batch are held at once
_COLUMNS: Final = ["clip_id", "path", "label", "group", "split", "reason", "detail"]
_SAVED: Final = ("dataset_dict.json", "dataset_info.json")


def list_data_set(params: HubData, workspace: Path) -> Listed:
    """List the clips of a dataset, and write clips stored as bytes to files.

    Raises:
        DataError: The dataset, a split or a column does not exist, or the audio column holds no audio.
    """
    params = params.model_copy(update={"name": spelled_on_disk(params.name)})
    place = workspace.absolute() / "hub"
    splits, folder = _load(params, place / "datasets")
    parts = _wanted_splits(params, splits)
    rows = [row for split, data in parts for row in _rows(params, split, data, place / "files")]
    rows += dropped_rows(params, folder) if folder else []
    clips = pd.DataFrame(rows, columns=_COLUMNS, dtype=object)
    if params.labels == "multi":
        clips = with_label_sets(clips, clips["label"])
    declared = {name for _, data in parts for name in _class_names(params, data)}
    declared |= {*empty_classes(folder)} if folder else set()
    unnamed = sum(len(data) for data in splits.values()) - sum(len(data) for _, data in parts)
    left_out = {"other_splits": unnamed, "not_in_metadata": _not_in_metadata(folder, clips) if unnamed == 0 else 0}
    _warn_of_left_out(left_out)
    return Listed(clips, Listing(tuple(sorted(declared - set(by_label(clips)["label"]))), left_out))


def _warn_of_left_out(left_out: Mapping[str, int]) -> None:
    unnamed, unlisted = left_out["other_splits"], left_out["not_in_metadata"]
    if unnamed:
        clips = counted(unnamed, "clip is", "clips are")
        logger.warning("%s left out because data.splits does not name their split.", clips)
    if unlisted:
        recordings = counted(unlisted, "recording is", "recordings are")
        logger.warning("%s left out because no metadata file lists them.", recordings)


def _not_in_metadata(folder: LocalFolder | None, clips: pd.DataFrame) -> int:
    return len(set(folder.recordings) - set(clips["path"])) if folder and folder.has_metadata else 0


def _class_names(params: HubData, data: Dataset) -> list[str]:
    """Return the class names that a dataset declares, with or without clips."""
    from datasets import ClassLabel

    feature = data.features[params.label_column]
    feature = getattr(feature, "feature", feature)  # of the elements, if it is a list
    return list(feature.names) if isinstance(feature, ClassLabel) else []


def _load(params: HubData, cache: Path) -> tuple[dict[str, Dataset], LocalFolder | None]:
    """Return the splits of the dataset by its own split names, and the local folder that it was built from, if any."""
    from datasets import DatasetDict, load_from_disk
    from datasets.exceptions import DatasetGenerationError

    folder = None
    try:
        if any((Path(params.name) / name).is_file() for name in _SAVED):
            loaded: Dataset | DatasetDict = load_from_disk(params.name)
        else:
            loaded, folder = _build(params, cache)
    except (OSError, ValueError, DatasetGenerationError) as error:
        if isinstance(error, OSError) and not _is_wrong_place(error):
            raise  # a network failure
        cause = error.__cause__ or error
        raise DataError(f"data.name = {params.name}: the dataset cannot be loaded: {cause}") from error
    splits = dict(loaded) if isinstance(loaded, DatasetDict) else {str(loaded.split or "train"): loaded}
    return splits, folder


def _is_wrong_place(error: OSError) -> bool:
    wrong = (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError)
    return isinstance(error, wrong) or error.errno == ENAMETOOLONG


def _build(params: HubData, cache: Path) -> tuple[Any, LocalFolder | None]:
    from datasets import load_dataset, load_dataset_builder
    from datasets.packaged_modules.audiofolder.audiofolder import AudioFolder

    where: dict[str, Any] = {"path": params.name, "name": params.config, "revision": params.revision}
    builder = load_dataset_builder(**where)
    folder = look_into(params, builder)
    if folder and folder.missed and params.splits is None:  # name all files, as the library would drop some
        where["data_files"] = {"train": sorted({*folder.read, *folder.missed})}
        builder = load_dataset_builder(**where)
        folder = look_into(params, builder)
    if folder:
        check_given_splits(params, folder)
    if not isinstance(builder, AudioFolder):
        return load_dataset(**where), folder
    # datasets 5.2 cannot list a folder of recordings without torchcodec, because its Audio feature opens each file.
    # A separate cache keeps programs with torchcodec from loading this dataset. Remove once Audio stores paths unread.
    builder = load_dataset_builder(**where, cache_dir=str(cache))
    builder.BASE_FEATURE = _path_feature()
    builder.download_and_prepare()
    return builder.as_dataset(), folder


def _path_feature() -> type:
    from datasets import Audio

    @dataclass
    class PathOnly(Audio):  # type: ignore[misc]  # datasets is Any to mypy
        """An Audio feature that stores the path without opening the file."""

        decode: bool = False

        def encode_example(self, value: Any) -> dict[str, Any]:
            return {"bytes": None, "path": value}

    return PathOnly


def _wanted_splits(params: HubData, splits: dict[str, Dataset]) -> list[tuple[str | None, Dataset]]:
    if params.splits is None:
        return [(None, data) for data in splits.values()]
    missing = [f"data.splits.{ours} = {theirs}" for ours, theirs in params.splits.items() if theirs not in splits]
    if missing:
        raise DataError(f"{params.name}: no such split: {', '.join(missing)}. Its splits: {', '.join(splits)}.")
    return [(ours, splits[theirs]) for ours, theirs in params.splits.items()]


def _rows(params: HubData, split: str | None, data: Dataset, folder: Path) -> Iterator[tuple[str | None, ...]]:
    """Yield a manifest row for each row of the dataset."""
    data = _undecoded(params, data)
    number = 0
    for batch in data.iter(_BATCH_CLIPS):
        labels = _labels(params, data, batch)
        groups = _texts(params, data, params.group_column, batch) if params.group_column else [None] * len(labels)
        for audio, label, group in zip(batch[params.audio_column], labels, groups, strict=True):
            number += 1
            clip_id, path = _place(params, audio or {}, folder)
            if path is None:
                clip_id = f"row {number} of {split or 'all'}"
                yield (
                    clip_id,
                    clip_id,
                    label,
                    group or clip_id,
                    split,
                    "missing",
                    "the dataset row has no audio",
                )
            else:
                yield clip_id, path, label, group or clip_id, split, None, None


def _undecoded(params: HubData, data: Dataset) -> Dataset:
    """Select the needed columns, with audio as {"bytes": ..., "path": ...}."""
    from datasets import Audio

    named = {
        "data.audio_column": params.audio_column,
        "data.label_column": params.label_column,
        "data.group_column": params.group_column,
    }
    wanted = {key: name for key, name in named.items() if name}
    check_columns(params.name, wanted, data.column_names)
    data = data.select_columns(list(dict.fromkeys(wanted.values())))
    try:
        return data.cast_column(params.audio_column, Audio(decode=False))
    except (TypeError, ValueError, NotImplementedError) as error:
        kind = data.features[params.audio_column]
        raise DataError(f"{params.name}: the column {params.audio_column} holds {kind}, not audio.") from error


def _labels(params: HubData, data: Dataset, batch: dict[str, list[Any]]) -> list[Any]:
    """Return the label of each row, or the list of its labels."""
    if params.labels == "single":
        return _texts(params, data, params.label_column, batch)
    feature = data.features[params.label_column]
    if not hasattr(feature, "feature"):
        raise DataError(
            f"{params.name}: the column {params.label_column} holds {feature}, but data.labels=multi needs a list of "
            "labels in each row."
        )
    cells = batch[params.label_column]
    return [
        _as_texts(params, params.label_column, feature.feature, cell) if cell is not None else None for cell in cells
    ]


def _texts(params: HubData, data: Dataset, name: str, batch: dict[str, list[Any]]) -> list[str | None]:
    """Return a column as text, with class names instead of numbers; blank values and -1 become None."""
    return _as_texts(params, name, data.features[name], batch[name])


def _as_texts(params: HubData, name: str, feature: Any, values: Sequence[Any]) -> list[str | None]:
    from datasets import ClassLabel

    if isinstance(feature, ClassLabel):
        return [None if value is None or value < 0 else feature.int2str(value) for value in values]
    odd = [value for value in values if value is not None and not isinstance(value, str | int | float)]
    if odd:
        raise DataError(f"{params.name}: the column {name} holds {feature}, but text is needed.")
    return [str(value).strip() or None if value is not None and value == value else None for value in values]


def _place(params: HubData, audio: dict[str, Any], folder: Path) -> tuple[str, str | None]:
    """Return the id of a clip and the path of its file; None if it has neither path nor bytes."""
    name, content = audio.get("path"), audio.get("bytes")
    if content is not None:
        digest = hashlib.sha256(content).hexdigest()
        source = PurePath(name or "clip")
        return f"{source.stem}-{digest[:12]}{source.suffix}", str(_written(content, digest, source.suffix, folder))
    if not name:
        return "", None
    path = Path(os.path.normpath(name)).absolute()
    root = Path(params.name).absolute()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else name, str(path)


def _written(content: bytes, digest: str, suffix: str, folder: Path) -> Path:
    # The suffix only helps people who browse the folder, and it is untrusted input.
    plain = suffix if re.fullmatch(r"\.[A-Za-z0-9]{1,8}", suffix) else ""
    path = folder / digest[:2] / f"{digest}{plain}"
    if not path.exists():
        with replacing(path) as part:
            part.write_bytes(content)
    return path
