"""The feature store: what an extractor makes of a clip, computed once and not anew in every epoch.

    <workspace>/features/<key>/           key: the extractor's settings, how clips are cut and filled, ALGORITHM
        settings.json                     what the key stands for
        extractor/                        the extractor itself, as `from_pretrained` reads it
        plans/<digest>.parquet            the clips that one run found to be missing
        shards/<digest>.parquet           a row a clip: its audio, and the bytes of each of the model's inputs
        unpacked/<digest>.<input>.bin     one input of one shard end to end, to be mapped in training

A clip is known by the hash of its samples and their scale, and a window of a long clip, as validation and test score
it, by its start too. Shards appear whole or not at all and are named by what they hold, so a killed run loses the
shards in flight, and the next one finishes to the same bytes. Features are kept where they are the same every time;
clips that training cuts at random places have other ones in every epoch, and are computed when they are read, as
without a store.

Worth its disk where the extractor itself has to compute them, a clip at a time; the spectrograms that a batched front
end computes, on the model's device if it has one, take a hundredth of the time of the training step that they are for.

float32 as they are computed, so that a model gets the same inputs; zstd halves them on the disk.
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
"""Part of every store's key. Raise it when the same samples and extractor would become other features."""

SHARD_CLIPS: Final = 128
ROW_GROUP_CLIPS: Final = 32
SPECTROGRAMS: Final = (ASTFeatureExtractor, SeamlessM4TFeatureExtractor, WhisperFeatureExtractor, ClapFeatureExtractor)
"""What there may be a store of; of raw waveforms, 12,000 in a second, there is none."""


@dataclass(frozen=True, slots=True)
class FeatureShard:
    """Rows `start` to `stop` of the clips that a plan found to be missing: the work of one shard."""

    store: Path
    plan: Path
    waveforms: Path
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class FeaturePlan:
    """What filling the feature store for one run takes."""

    store: Path
    shards: tuple[FeatureShard, ...]


def plan_features(data: PreparedData) -> FeaturePlan | None:
    """Find the clips whose features are missing; None where `audio.cache_features` has none kept."""
    params = data.params
    # Fused clips are cropped at other places in every epoch, and need to be known whole.
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
    held_out = cut_into_windows(clips[clips["split"] != "train"], params.audio)
    table = pd.concat([clips[clips["split"] == "train"], held_out], ignore_index=True)
    # Augmented clips differ in every epoch: of those, no features are kept.
    lasting = table[~varies(table, params.audio) & ((table["split"] != "train") | (not params.augmentation))]
    wanted = lasting.drop_duplicates(CLIP_KEY).sort_values(CLIP_KEY, ignore_index=True)
    have = stored_features(store)[CLIP_KEY].assign(have=True)
    missing = wanted[wanted.merge(have, on=CLIP_KEY, how="left")["have"].isna()]
    logger.info(
        "%d clips, or windows of long ones, have their features kept in %s, %d of them new; %d training clips are "
        "longer than audio.max_seconds and cut at random, or augmented, so that theirs are computed in every epoch.",
        len(wanted), store, len(missing), len(table) - len(lasting),
    )  # fmt: skip
    return FeaturePlan(store, _cut_into_shards(missing, store, data.waveforms))


def varies(clips: pd.DataFrame, audio: AudioParams) -> pd.Series:
    """Say of each clip whether training cuts it at a random place, so that its features differ by epoch."""
    longer = clips["num_samples"] > input_samples(audio)
    return longer & (clips["split"] == "train") & (audio.truncate == "random")


def _open_store(extractor: Any, audio: AudioParams, workspace: Path) -> Path:
    """Return the folder of the store for an extractor and these clips, made if need be."""
    text = _describe(extractor, audio)
    store = features_folder(workspace) / _key(text)
    if not (store / "settings.json").exists():
        store.mkdir(parents=True, exist_ok=True)
        extractor.save_pretrained(store / "extractor")
        with replacing(store / "settings.json") as part:
            part.write_text(text + "\n")
    return store


def _describe(extractor: Any, audio: AudioParams) -> str:
    """Return, as JSON, everything besides the samples that features depend on."""
    # What the extractor has been loaded from, or belongs to, changes no feature.
    made_of = {k: v for k, v in extractor.to_dict().items() if not k.startswith("_") and k != "processor_class"}
    settings = {
        "algorithm": ALGORITHM,
        "extractor": {"class": type(extractor).__name__, **made_of},
        "transformers": transformers.__version__,
        # With torchaudio installed, transformers computes some features by it, and not quite the same.
        "torchaudio": is_speech_available(),
        "input_samples": input_samples(audio),
        "cut": cut_of(audio, training=False),
        "pad": audio.pad,
    }
    return json.dumps(settings, indent=2, sort_keys=True)


def _key(settings: str) -> str:
    return hashlib.sha256(settings.encode()).hexdigest()[:12]


def map_features(store: Path, clips: pd.DataFrame, extractor: Any, audio: AudioParams) -> MappedFeatures:
    """Map what the store has of some clips, for batches of a model with this extractor.

    Raises:
        StoreError: The store is of another extractor or of other settings, or lacks clips.
    """
    if store.name != _key(_describe(extractor, audio)):
        raise StoreError(
            f"{store}: holds what another extractor, or the same with other settings, made of the clips; its "
            "settings.json says which. Set audio.cache_features=never, or have the store filled by this extractor."
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
    """Compute and write the features of one shard; return how many clips they are of."""
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
    """Put the model's inputs, each (clips, ...), into a binary column each, which says their shape."""
    fields = [pa.field("audio_hash", pa.string()), pa.field("scale", pa.float32())]
    columns = [pa.array(rows[name], field.type) for name, field in zip(CLIP_KEY, fields, strict=True)]
    for name, tensor in inputs.items():
        values = tensor.numpy()
        meaning = {"dtype": values.dtype.newbyteorder("<").str, "shape": json.dumps(values.shape[1:])}
        fields.append(pa.field(name, pa.binary(), metadata=meaning))
        columns.append(pa.array([clip.tobytes() for clip in values], pa.binary()))
    return pa.table(columns, schema=pa.schema(fields))
