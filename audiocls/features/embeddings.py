"""The embedding store: the pooled input of the head, computed once for each clip and each set of weights.

    <workspace>/embeddings/<key>/      key: weights before the head, extractor, truncation, padding
        settings.json                  what the key hashes
        shards/<digest>.parquet        one row per clip: its key, and the embedding as little-endian float32

A clip is identified by the hash of its samples and their scale, as in the feature store. Shards are written atomically.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import torch
import transformers
from numpy.typing import NDArray
from torch.utils.data import DataLoader
from transformers import PreTrainedModel

from audiocls.batches import CLIP_KEY, Collator, cut_of, input_samples
from audiocls.features.clips import open_clips
from audiocls.files import replacing, write_table
from audiocls.models import head_layers, pooled_embeddings, pooled_layers
from audiocls.params import AudioParams, RunParams
from audiocls.splits import PreparedData

ALGORITHM: Final = 2
"""Part of every store's key. Increase it when the embeddings of the same weights and samples change."""

SHARD_CLIPS: Final = 4_096


def embed_clips(
    model: PreTrainedModel, extractor: Any, clips: pd.DataFrame, data: PreparedData, *, all_layers: bool = False
) -> NDArray[np.float32]:
    """Return the pooled embeddings of clips, shape (num_clips, dim), and store new ones.

    Args:
        model: The model, on the device to compute on.
        extractor: Its feature extractor.
        clips: Rows of the clips table. Of a clip longer than the model's input, only the middle is embedded, unless
            long clips are fused.
        data: The run's.
        all_layers: Return the concatenated embeddings of all layers, shape (num_clips, (layers + 1) * dim).
    """
    store = _open_store(model, extractor, data.params, all_layers)
    pool = _all_layers if all_layers else pooled_embeddings
    have = _stored(store)
    keys = list(clips[CLIP_KEY].itertuples(index=False, name=None))
    missing = clips[[key not in have for key in keys]].drop_duplicates(CLIP_KEY)
    # Longest first: running out of memory shows at once, and batches hold clips of similar length.
    missing = missing.sort_values(["num_samples", *CLIP_KEY], ascending=False)
    for start in range(0, len(missing), SHARD_CLIPS):
        rows = missing.iloc[start : start + SHARD_CLIPS]
        vectors = np.concatenate(list(_compute(model, extractor, rows, data, pool)))
        _write(rows, vectors, store)
        have |= dict(zip(rows[CLIP_KEY].itertuples(index=False, name=None), vectors, strict=True))
    return np.stack([have[key] for key in keys])


def _compute(
    model: PreTrainedModel,
    extractor: Any,
    clips: pd.DataFrame,
    data: PreparedData,
    pool: Callable[[PreTrainedModel, dict[str, torch.Tensor]], torch.Tensor],
) -> Iterator[NDArray[np.float32]]:
    dataset = open_clips(clips, sorted(clips["label"].unique()), extractor, data)
    collator = Collator(extractor, data.params.audio, leave_to_device=model.device.type != "cpu")
    for batch in DataLoader(dataset, batch_size=data.params.training.eval_batch_size, collate_fn=collator):
        inputs = collator.finish({name: tensor.to(model.device) for name, tensor in batch.items()})
        yield pool(model, inputs).float().cpu().numpy()


def _all_layers(model: PreTrainedModel, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    return pooled_layers(model, batch).flatten(1)


def _open_store(model: PreTrainedModel, extractor: Any, params: RunParams, all_layers: bool) -> Path:
    text = _describe(model, extractor, params.audio, all_layers)
    store = params.workspace / "embeddings" / hashlib.sha256(text.encode()).hexdigest()[:12]
    with replacing(store / "settings.json") as part:
        part.write_text(text + "\n")
    return store


def _describe(model: PreTrainedModel, extractor: Any, audio: AudioParams, all_layers: bool) -> str:
    """Return as JSON everything that embeddings depend on, except the samples."""
    settings = {
        "algorithm": ALGORITHM,
        "family": model.config.model_type,
        "weights": weights_digest(model),
        "extractor": {k: v for k, v in extractor.to_dict().items() if not k.startswith("_")},
        "transformers": transformers.__version__,
        "input_samples": input_samples(audio),
        "cut": cut_of(audio, training=False),
        "pad": audio.pad,
        # The weights of layers are part of `weights`.
        "layers": "all" if all_layers else "the head's",
    }
    return json.dumps(settings, indent=2, sort_keys=True)


def weights_digest(model: PreTrainedModel) -> str:
    """Return a hash of all weights except the linear layers of the head."""
    head = {id(tensor) for layer in head_layers(model) for tensor in layer.state_dict(keep_vars=True).values()}
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict(keep_vars=True).items()):
        if id(tensor) not in head:
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype} ".encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _stored(store: Path) -> dict[tuple[str, float], NDArray[np.float32]]:
    have: dict[tuple[str, float], NDArray[np.float32]] = {}
    for path in sorted((store / "shards").glob("*.parquet")):
        table = pq.read_table(path).to_pandas()
        keys = table[CLIP_KEY].itertuples(index=False, name=None)
        have |= {key: np.frombuffer(row, "<f4") for key, row in zip(keys, table["embedding"], strict=True)}
    return have


def _write(clips: pd.DataFrame, vectors: NDArray[np.float32], store: Path) -> None:
    table = clips[list(CLIP_KEY)].assign(embedding=[vector.astype("<f4").tobytes() for vector in vectors])
    keys = "\n".join(f"{sha256} {scale!r}" for sha256, scale in table[CLIP_KEY].itertuples(index=False, name=None))
    name = hashlib.sha256(keys.encode()).hexdigest()[:16]
    write_table(table, store / "shards" / f"{name}.parquet")
