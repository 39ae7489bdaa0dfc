"""Folders of recordings that are mixed into training clips."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from audiocls.decoding import FULL_SCALE, UnusableClipError, decode
from audiocls.errors import DataError, name_some
from audiocls.params import AudioParams

# A whole folder is kept in memory, so that no batch waits for the disk.
MOST_BYTES: Final = 2**30


def list_recordings(folder: Path, leave_out: Sequence[str] = ()) -> list[Path]:
    """List every file below a folder, sorted by name, except those in `leave_out`, relative to the folder.

    Raises:
        DataError: The folder cannot be read or has no other files, or `leave_out` names a file that does not exist.
    """
    try:
        missing = [name for name in leave_out if not (folder / name).is_file()]
        files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    except OSError as error:
        raise DataError(f"{folder}: the folder of an augmentation cannot be read: {error.strerror}.") from error
    if missing:
        raise DataError(f"{folder}: leave_out names files that do not exist: {name_some(missing)}. Correct the names.")
    files = [path for path in files if path.relative_to(folder).as_posix() not in leave_out]
    if not files:
        others = f" besides the {len(leave_out)} that are left out" if leave_out else ""
        raise DataError(
            f"{folder}: there are no recordings to augment with{others}. Correct the folder of this augmentation."
        )
    return files


def read_recordings(folder: Path, sample_rate_hz: int, leave_out: Sequence[str] = ()) -> list[Tensor]:
    """Decode the files that `list_recordings` lists.

    Returns:
        Waveforms, each (samples,) float32.

    Raises:
        DataError: The folder has no files, an unusable file, or more than fits into memory.
    """
    files = list_recordings(folder, leave_out)
    audio = AudioParams(sample_rate_hz=sample_rate_hz, min_seconds=0.0)
    waveforms, num_bytes = [], 0
    for path in files:
        waveforms.append(_read(path, audio))
        num_bytes += waveforms[-1].nbytes
        if num_bytes > MOST_BYTES:
            raise DataError(
                f"{folder}: its recordings ({len(files)}) are kept in memory for augmentation, but take more than "
                f"{MOST_BYTES / 2**30:g} GiB as float32 at {sample_rate_hz} Hz. Use fewer or shorter recordings."
            )
    return waveforms


def _read(path: Path, audio: AudioParams) -> Tensor:
    try:
        recording = decode(path.read_bytes(), audio)
    except UnusableClipError as error:
        raise DataError(f"{path}: cannot be used for augmentation: {error}. Remove it from the folder.") from error
    return torch.from_numpy(recording.samples).float() * (recording.scale / FULL_SCALE)
