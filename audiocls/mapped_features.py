"""Random access to the feature store: each shard's features, unpacked end to end into files and memory-mapped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from audiocls.errors import StoreError, name_some
from audiocls.mapped import unpack_shard
from audiocls.storage import damaged

CLIP_KEY: Final = ["audio_hash", "scale"]


class MappedFeatures:
    """The features of some clips, by position; pages are read when touched: memory does not grow with them."""

    def __init__(self, clips: pd.DataFrame, store: Path, kept: NDArray[np.bool_]) -> None:
        """Map the shards of some clips.

        Args:
            clips: A row a clip; the columns `audio_hash` and `scale` are used.
            store: The feature store.
            kept: Which of the clips it has to have, shape (num_clips,); the others are not looked for.

        Raises:
            StoreError: The store lacks some of the clips, or a shard is damaged.
        """
        wanted = clips.loc[kept, CLIP_KEY]
        found = wanted.merge(stored_features(store), on=CLIP_KEY, how="left")
        lost = found["feature_shard"].isna()
        if lost.any():
            raise StoreError(
                f"{store}: lacks the features of {lost.sum()} of {len(found)} clips: "
                f"{name_some(found.loc[lost, 'audio_hash'])}. Run again, which computes them."
            )
        maps = {name: _map_shard(store, name) for name in found["feature_shard"].unique()}
        self._shards = [maps[name] for name in found["feature_shard"]]
        self._rows = found["feature_row"].to_numpy(np.int64)
        self._position = np.where(kept, np.cumsum(kept) - 1, -1)

    def has(self, index: int) -> bool:
        """Say whether the features of a clip are kept."""
        return bool(self._position[index] >= 0)

    def read(self, index: int) -> dict[str, NDArray[Any]]:
        """Return the model's inputs of one clip by name, each without the batch's axis."""
        position = self._position[index]
        return {name: features[self._rows[position]] for name, features in self._shards[position].items()}


def features_folder(workspace: Path) -> Path:
    """Return the folder that holds a feature store for each extractor and its settings."""
    return workspace / "features"


def stored_features(store: Path) -> pd.DataFrame:
    """Return a row a clip that the store has: its key, and where its features stand."""
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


def _map_shard(store: Path, name: str) -> dict[str, NDArray[Any]]:
    """Map each of the model's inputs in a shard, shape (clips, ...)."""
    schema = pq.read_schema(store / "shards" / f"{name}.parquet")
    maps: dict[str, NDArray[Any]] = {}
    for field in schema:
        if field.name not in CLIP_KEY:
            shape = json.loads(field.metadata[b"shape"])
            unpacked = unpack_shard(store, name, field.name, f"{field.name}.bin")
            # As a plain array: numpy's own subclass takes ten times as long to index.
            maps[field.name] = np.asarray(
                np.memmap(unpacked, dtype=field.metadata[b"dtype"].decode(), mode="r")
            ).reshape(-1, *shape)
    return maps
