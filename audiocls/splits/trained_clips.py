"""Which sounds a model was trained on, kept with the model: no later evaluation must test it on them.

`training_clips.json` in the model's folder has the beginnings of hashes: of the samples of each clip of training and
validation, of the recordings that they are part of, and of the bytes of their files; and of the names of their groups.
The names themselves and the labels are not in it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import xxhash
from numpy.typing import NDArray

from audiocls.errors import DataError
from audiocls.files import replacing

FILE_NAME: Final = "training_clips.json"
_HASHES: Final = ("audio_hash", "recording_hash", "content_sha256")
_DIGITS: Final = 16  # hexadecimal, of 64 bits: among a million clips, a wrong match has a chance of 1e-7


def write_training_clips(split_clips: Path, folder: Path) -> Path:
    """Write the hashes of the clips of training and validation into a model's folder.

    Args:
        split_clips: The clips table with its splits.
        folder: Of the model.
    """
    table = pd.read_parquet(split_clips, columns=["split", "group", *_HASHES])
    used = table[table["split"].isin(["train", "validation"])]
    hashes = np.unique(np.concatenate([_numbers(used[name]) for name in _HASHES]))
    content = {"version": 1, "clips": len(used), "hashes": _packed(hashes), "groups": _packed(_named(used["group"]))}
    target = folder / FILE_NAME
    with replacing(target) as part:
        part.write_text(json.dumps(content) + "\n", encoding="utf-8")
    return target


def trained_on(clips: pd.DataFrame, folder: Path) -> NDArray[np.bool_] | None:
    """Return which clips a model was trained on, or has heard parts of; None if its folder does not say.

    All clips of a group count if one does: the model knows the speaker or the place.

    Args:
        clips: Rows of a clips table.
        folder: Of the model.

    Raises:
        DataError: The file is damaged.
    """
    known = _read(folder, "hashes")
    if known is None:
        return None
    heard = np.logical_or.reduce([np.isin(_numbers(clips[name]), known) for name in _HASHES])
    return clips["group"].isin(clips.loc[heard, "group"]).to_numpy(bool) | heard


def of_groups_named_alike(clips: pd.DataFrame, folder: Path) -> NDArray[np.bool_]:
    """Return which clips are of groups with the names of groups that trained a model; none if its folder says nothing.

    They may be of the same speakers, or of others whom another corpus names alike.
    """
    known = _read(folder, "groups")
    if known is None:
        return np.zeros(len(clips), bool)
    names = clips["group"].unique()
    return clips["group"].isin(names[np.isin(_hashed(names), known)]).to_numpy(bool)


def _read(folder: Path, name: str) -> NDArray[np.uint64] | None:
    file = folder / FILE_NAME
    if not file.is_file():
        return None
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return np.frombuffer(base64.b64decode(content[name], validate=True), "<u8")
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file}: is damaged ({error}). Copy it again from the run that trained the model.") from error


def _packed(numbers: NDArray[np.uint64]) -> str:
    return base64.b64encode(numbers.astype("<u8").tobytes()).decode()


def _named(groups: pd.Series) -> NDArray[np.uint64]:
    return np.unique(_hashed(groups.unique()))


def _hashed(names: Iterable[str]) -> NDArray[np.uint64]:
    return np.array([xxhash.xxh3_64_intdigest(name.encode()) for name in names], np.uint64)


def _numbers(hashes: pd.Series) -> NDArray[np.uint64]:
    return np.array([int(text[:_DIGITS], 16) for text in hashes], np.uint64)
