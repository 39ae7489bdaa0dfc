"""The feature store: the extractor's output for each clip, computed once instead of in every epoch.

    <workspace>/features/<key>/           key: extractor settings, truncation, padding, ALGORITHM
        settings.json                     what the key hashes
        extractor/                        the extractor, for `from_pretrained`
        plans/<digest>.parquet            the clips that were missing in one run
        shards/<digest>.parquet           one row per clip: its key, and the bytes of each model input
        unpacked/<digest>.<input>.bin     one input of one shard, memory-mapped in training

A clip is identified by the hash of its samples and their scale; a window of a long clip also by its start. Shards are
written atomically and named by their content. So a killed run loses only unfinished shards, and the next one produces
the same bytes. Only features that are always the same are stored. Clips that training cuts at random positions have
different features in every epoch, and are computed when they are read.

The store pays off if the extractor computes clip by clip. A batched front end computes spectrograms on the model's
device in a hundredth of the time of a training step.

Features are stored in float32, as computed, so that model inputs are identical; zstd halves their size.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import transformers
from transformers import (
    ASTFeatureExtractor,
    AutoFeatureExtractor,
    ClapFeatureExtractor,
    SeamlessM4TFeatureExtractor,
    WhisperFeatureExtractor,
)
from transformers.utils import is_speech_available

from audiocls.batches import (
    CLIP_KEY,
    ClipDataset,
    MappedFeatures,
    cut_into_windows,
    cut_of,
    features_folder,
    input_samples,
    normalise_by_training,
    stored_features,
)
from audiocls.errors import StoreError
from audiocls.files import clean_up, mark_used, replacing, write_table
from audiocls.models import build_extractor, build_front_end, model_inputs
from audiocls.params import AudioParams
from audiocls.splits import PreparedData
from audiocls.waveforms import MappedWaveforms

logger = logging.getLogger(__name__)

ALGORITHM: Final = 2
"""Part of every store's key. Increase it when the features of the same samples and extractor change."""

SHARD_CLIPS: Final = 128
ROW_GROUP_CLIPS: Final = 32
SPECTROGRAMS: Final = (ASTFeatureExtractor, SeamlessM4TFeatureExtractor, WhisperFeatureExtractor, ClapFeatureExtractor)
"""The extractors that can have a store; 12,000 raw waveforms per second need none."""


@dataclass(frozen=True, slots=True)
class FeatureShard:
    """The work of one shard: rows `start` to `stop` of the missing clips of a plan."""

    store: Path
    plan: Path
    waveforms: Path
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class FeaturePlan:
    """The shards to compute for one run."""

    store: Path
    shards: tuple[FeatureShard, ...]


def plan_features(data: PreparedData) -> FeaturePlan | None:
    """Find the clips whose features are missing; None if `audio.cache_features` stores none."""
    params = data.params
    # Fused clips are cropped at new positions in every epoch, from the whole clip.
    if params.audio.cache_features == "never" or params.audio.truncate == "fusion":
        return None
    extractor = build_extractor(params.model, params.audio)
    is_slow = build_front_end(extractor, input_samples(params.audio)) is None
    if not isinstance(extractor, SPECTROGRAMS) or not (is_slow or params.audio.cache_features == "always"):
        return None
    clips = pd.read_parquet(data.split_clips)
    normalise_by_training(extractor, clips, data.waveforms, params)
    store = _open_store(extractor, params.audio, params.workspace)
    clean_up(store)
    mark_used(store / "settings.json")
    # Training reads whole clips, which it cuts itself, or the windows of `audio.chunk`.
    whole = (clips["split"] == "train") & (params.audio.chunk is None)
    table = pd.concat([clips[whole], cut_into_windows(clips[~whole], params.audio)], ignore_index=True)
    # Augmented clips differ in every epoch, so their features are not stored.
    lasting = table[~varies(table, params.audio) & ((table["split"] != "train") | (not params.augmentation))]
    wanted = lasting.drop_duplicates(CLIP_KEY).sort_values(CLIP_KEY, ignore_index=True)
    have = stored_features(store)[CLIP_KEY].assign(have=True)
    missing = wanted[wanted.merge(have, on=CLIP_KEY, how="left")["have"].isna()]
    logger.info(
        "Features of %d clips or windows are stored in %s, %d of them new. Features of %d training clips are computed "
        "in every epoch, because the clips are augmented, or longer than audio.max_seconds and cut at random.",
        len(wanted), store, len(missing), len(table) - len(lasting),
    )  # fmt: skip
    return FeaturePlan(store, _cut_into_shards(missing, store, data.waveforms))


def varies(clips: pd.DataFrame, audio: AudioParams) -> pd.Series:
    """Return for each clip whether training cuts it at a random position, so that its features vary by epoch."""
    longer = clips["num_samples"] > input_samples(audio)
    return longer & (clips["split"] == "train") & (audio.truncate == "random")


def _open_store(extractor: Any, audio: AudioParams, workspace: Path) -> Path:
    """Return the folder of the store for an extractor and audio params; create it if needed."""
    text = _describe(extractor, audio)
    store = features_folder(workspace) / _key(text)
    if not (store / "settings.json").exists():
        store.mkdir(parents=True, exist_ok=True)
        extractor.save_pretrained(store / "extractor")
        with replacing(store / "settings.json") as part:
            part.write_text(text + "\n")
    return store


def _describe(extractor: Any, audio: AudioParams) -> str:
    """Return as JSON everything that features depend on, except the samples."""
    # The origin of the extractor and its processor do not change the features.
    made_of = {k: v for k, v in extractor.to_dict().items() if not k.startswith("_") and k != "processor_class"}
    settings = {
        "algorithm": ALGORITHM,
        "extractor": {"class": type(extractor).__name__, **made_of},
        "transformers": transformers.__version__,
        # With torchaudio installed, transformers computes some features with it, with slightly different results.
        "torchaudio": is_speech_available(),
        "input_samples": input_samples(audio),
        "cut": cut_of(audio, training=False),
        "pad": audio.pad,
    }
    return json.dumps(settings, indent=2, sort_keys=True)


def _key(settings: str) -> str:
    return hashlib.sha256(settings.encode()).hexdigest()[:12]


def map_features(store: Path, clips: pd.DataFrame, extractor: Any, audio: AudioParams) -> MappedFeatures:
    """Map the stored features of some clips, for a model with this extractor.

    Raises:
        StoreError: The store has another extractor or other settings, or lacks clips.
    """
    if store.name != _key(_describe(extractor, audio)):
        raise StoreError(
            f"{store}: holds features of another extractor or of other settings; see its settings.json. "
            "Set audio.cache_features=never, or fill the store with this extractor."
        )
    return MappedFeatures(clips, store, ~varies(clips, audio).to_numpy(bool))


def _cut_into_shards(missing: pd.DataFrame, store: Path, waveforms: Path) -> tuple[FeatureShard, ...]:
    if missing.empty:
        return ()
    rows = missing[[*CLIP_KEY, "shard", "first_sample", "num_samples"]]
    plan = write_table(rows, store / "plans" / f"{_name(rows)}.parquet")
    starts = range(0, len(rows), SHARD_CLIPS)
    return tuple(FeatureShard(store, plan, waveforms, i, min(i + SHARD_CLIPS, len(rows))) for i in starts)


def _name(rows: pd.DataFrame) -> str:
    keys = pd.util.hash_pandas_object(rows[CLIP_KEY].astype({"audio_hash": object}), index=False)
    return hashlib.sha256(keys.to_numpy().tobytes()).hexdigest()[:16]


def write_features(shard: FeatureShard, audio: AudioParams) -> int:
    """Compute and write the features of one shard; return the number of clips."""
    extractor = AutoFeatureExtractor.from_pretrained(
        shard.store / "extractor", local_files_only=True, trust_remote_code=False
    )
    clips = pd.read_parquet(shard.plan).iloc[shard.start : shard.stop]
    dataset = ClipDataset(clips.assign(label=""), MappedWaveforms(clips, shard.waveforms), [""], audio, training=False)
    with replacing(shard.store / "shards" / f"{_name(clips)}.parquet") as part:
        writer = None
        for start in range(0, len(clips), ROW_GROUP_CLIPS):
            rows = clips.iloc[start : start + ROW_GROUP_CLIPS]
            waveforms = [dataset.waveform(i) for i in range(start, start + len(rows))]
            table = _table(rows, model_inputs(waveforms, extractor, input_samples(audio)))
            writer = writer or pq.ParquetWriter(part, table.schema, compression="zstd", use_dictionary=False)
            writer.write_table(table)
        if writer is None:
            raise StoreError(f"{shard.plan}: has no rows {shard.start} to {shard.stop}. Delete it and run again.")
        writer.close()
    return len(clips)


def _table(rows: pd.DataFrame, inputs: dict[str, Any]) -> pa.Table:
    """Store each model input, (clips, ...), in a binary column, with its shape in the metadata."""
    fields = [pa.field("audio_hash", pa.string()), pa.field("scale", pa.float32())]
    columns = [pa.array(rows[name], field.type) for name, field in zip(CLIP_KEY, fields, strict=True)]
    for name, tensor in inputs.items():
        values = tensor.numpy()
        meaning = {"dtype": values.dtype.newbyteorder("<").str, "shape": json.dumps(values.shape[1:])}
        fields.append(pa.field(name, pa.binary(), metadata=meaning))
        columns.append(pa.array([clip.tobytes() for clip in values], pa.binary()))
    return pa.table(columns, schema=pa.schema(fields))
