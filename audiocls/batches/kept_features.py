"""Random access to the feature store: the features of each shard, unpacked into memory-mapped files."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from audiocls.errors import StoreError, counted, name_some
from audiocls.files import damaged
from audiocls.waveforms import FileMaps, unpack_shard

CLIP_KEY: Final = ["audio_hash", "scale"]


class MappedFeatures:
    """The features of some clips, by position, memory-mapped: memory use does not grow with their number."""

    def __init__(self, clips: pd.DataFrame, store: Path, kept: NDArray[np.bool_]) -> None:
        """Map the shards of some clips.

        Args:
            clips: One row per clip; the columns `audio_hash` and `scale` are used.
            store: The feature store.
            kept: The clips that the store must have, shape (num_clips,); others are not looked up.

        Raises:
            StoreError: The store lacks some of the clips, or a shard is damaged.
        """
        wanted = clips.loc[kept, CLIP_KEY]
        found = wanted.merge(stored_features(store), on=CLIP_KEY, how="left")
        lost = found["feature_shard"].isna()
        if lost.any():
            raise StoreError(
                f"{store}: lacks the features of {lost.sum()} of {counted(len(found), 'clip')}: "
                f"{name_some(found.loc[lost, 'audio_hash'])}. Run again to compute them."
            )
        self._shard, names = pd.factorize(found["feature_shard"])
        self._inputs = _map_inputs(store, list(names))
        self._rows = found["feature_row"].to_numpy(np.int64)
        self._position = np.where(kept, np.cumsum(kept) - 1, -1)

    def has(self, index: int) -> bool:
        """Return whether the features of a clip are stored."""
        return bool(self._position[index] >= 0)

    def read(self, index: int) -> dict[str, NDArray[Any]]:
        """Return the model's inputs of one clip by name, each without the batch axis."""
        position = self._position[index]
        shard, row = self._shard[position], self._rows[position]
        return {name: features.read(shard, row) for name, features in self._inputs.items()}


def features_folder(workspace: Path) -> Path:
    """Return the folder of the feature stores, one per extractor and settings."""
    return workspace / "features"


def stored_features(store: Path) -> pd.DataFrame:
    """Return one row per stored clip: its key, and the shard and row of its features."""
    parts = [pd.DataFrame({"audio_hash": [], "scale": [], "feature_shard": [], "feature_row": []})]
    for path in sorted((store / "shards").glob("*.parquet")):
        try:
            part = pq.read_table(path, columns=CLIP_KEY).to_pandas()
        except (pa.ArrowException, OSError) as error:
            raise damaged(path, error) from error
        parts.append(part.assign(feature_shard=path.stem, feature_row=np.arange(len(part))))
    types = {"audio_hash": "str", "scale": "float32", "feature_shard": "str", "feature_row": "int64"}
    frames = [part.astype(types) for part in parts]
    return pd.concat(frames, ignore_index=True).drop_duplicates(CLIP_KEY, ignore_index=True)


class _MappedInput:
    """One model input in several shards."""

    def __init__(self, files: Sequence[Path], shapes: Sequence[tuple[int, ...]], dtype: str) -> None:
        """Map `files`, each of which holds consecutive arrays of its shape in `shapes`."""
        self._files = FileMaps(files, dtype)
        self._shapes = shapes

    def read(self, shard: int, row: int) -> NDArray[Any]:
        """Return the input of one clip."""
        shape = self._shapes[shard]
        size = math.prod(shape)
        return self._files[shard][row * size : (row + 1) * size].reshape(shape)


def _map_inputs(store: Path, names: list[str]) -> dict[str, _MappedInput]:
    """Map the model inputs in some shards, by name."""
    schemas = [pq.read_schema(store / "shards" / f"{name}.parquet") for name in names]
    inputs = [] if not schemas else [field.name for field in schemas[0] if field.name not in CLIP_KEY]
    maps = {}
    for each in inputs:
        files = [unpack_shard(store, name, each, f"{each}.bin") for name in names]
        about = [schema.field(each).metadata for schema in schemas]
        shapes = [tuple(json.loads(meaning[b"shape"])) for meaning in about]
        maps[each] = _MappedInput(files, shapes, about[0][b"dtype"].decode())
    return maps
