"""Random access to the waveform store: each shard's samples are unpacked into one file, which is memory-mapped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from audiocls.decoding import FULL_SCALE
from audiocls.files import Place, damaged, home_of, open_table, replacing
from audiocls.waveforms.file_maps import FileMaps


class MappedWaveforms:
    """Waveforms of clips, by position. Pages are read on access, so memory does not grow with the number of clips."""

    def __init__(self, clips: pd.DataFrame, store: Path) -> None:
        """Unpack the shards of `clips`; uses the columns `shard`, `first_sample`, `num_samples` and `scale`."""
        self._shard, names = pd.factorize(clips["shard"])
        self._shards = FileMaps([unpack_shard(store, name) for name in names], "<i2")
        self._first = clips["first_sample"].to_numpy(np.int64)
        self.num_samples = clips["num_samples"].to_numpy(np.int64)
        self._gain = (clips["scale"].to_numpy(np.float64) / FULL_SCALE).astype(np.float32)

    def __len__(self) -> int:
        return len(self._first)

    def read(self, index: int, start: int = 0, stop: int | None = None) -> NDArray[np.float32]:
        """Return samples `start` to `stop` of one clip as float32; like a slice, at most to the clip's end."""
        first = int(self._first[index])
        clip = self._shards[self._shard[index]][first : first + int(self.num_samples[index])]
        waveform = clip[start:stop].astype(np.float32)
        waveform *= self._gain[index]
        return waveform

    def read_into(self, waveform: NDArray[np.float32], index: int, start: int = 0) -> None:
        """Fill `waveform`, shape (length,), from one clip, beginning at sample `start`; the clip must have enough."""
        first = int(self._first[index]) + start
        waveform[:] = self._shards[self._shard[index]][first : first + len(waveform)]
        waveform *= self._gain[index]


def unpack_shard(store: Path, name: str, column: str = "samples", suffix: str = "i16") -> Path:
    """Concatenate a binary column of a shard into one file, unless that file is up to date.

    Raises:
        StoreError: The shard is damaged.
    """
    home = home_of(store)
    shard = home / "shards" / f"{name}.parquet"
    target = store / "unpacked" / f"{name}.{suffix}"
    # A remote shard is not checked again: its name identifies its content.
    if target.exists() and (home is not store or target.stat().st_mtime_ns >= shard.stat().st_mtime_ns):
        return target
    with replacing(target) as part, part.open("wb") as out:
        out.writelines(_read_column(shard, column))
    return target


def _read_column(shard: Place, column: str) -> Iterator[pa.Buffer]:
    try:
        with open_table(shard) as table:
            for batch in table.iter_batches(32, columns=[column]):
                yield from (cell.as_buffer() for cell in batch[column] if cell.is_valid)
    except (pa.ArrowException, OSError) as error:
        raise damaged(shard, error) from error
