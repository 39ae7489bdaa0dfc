"""Random access to the waveform store: each shard's samples, unpacked end to end into one file and memory-mapped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from audiocls.atomic import replacing
from audiocls.decoding import FULL_SCALE


class MappedWaveforms:
    """The waveforms of some clips, by position; pages are read when touched: memory does not grow with them."""

    def __init__(self, clips: pd.DataFrame, store: Path) -> None:
        """Map the shards of `clips`, whose columns `shard`, `first_sample`, `num_samples` and `scale` are used."""
        names = clips["shard"].unique()
        shards = {name: np.memmap(unpack_shard(store, name), dtype="<i2", mode="r") for name in names}
        self._shards = [shards[name] for name in clips["shard"]]
        self._first = clips["first_sample"].to_numpy(np.int64)
        self.num_samples = clips["num_samples"].to_numpy(np.int64)
        self._gain = (clips["scale"].to_numpy(np.float64) / FULL_SCALE).astype(np.float32)

    def __len__(self) -> int:
        return len(self._first)

    def read(self, index: int, start: int = 0, stop: int | None = None) -> NDArray[np.float32]:
        """Return samples `start` to `stop` of one clip as float32, shape (stop - start,)."""
        length = int(self.num_samples[index])
        stop = length if stop is None else min(stop, length)
        first = int(self._first[index])
        samples = self._shards[index][first + start : first + stop]
        return samples.astype(np.float32) * self._gain[index]


def unpack_shard(store: Path, name: str) -> Path:
    """Write the samples of a shard end to end as little-endian int16, unless that was done before."""
    target = store / "unpacked" / f"{name}.i16"
    if not target.exists():
        with replacing(target) as part, part.open("wb") as out:
            for batch in pq.ParquetFile(store / "shards" / f"{name}.parquet").iter_batches(32, columns=["samples"]):
                out.writelines(cell.as_buffer() for cell in batch["samples"] if cell.is_valid)
    return target
