#!/usr/bin/env python3
"""Measure the time that the feature store saves: one epoch of AST batches, with and without it.

    python benchmarks/cache_features.py MANIFEST.csv [--clips 500] [--seconds 2]

Takes the first clips of a table with columns path and label (`make phrases` fetches one); prints a JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}

import pandas as pd
import torch
from torch.utils.data import DataLoader

from audiocls.batches.dataset import ClipDataset, Collator
from audiocls.batches.normalisation import normalise_by_training
from audiocls.features.store import map_features, plan_features, write_features
from audiocls.models.families import build_extractor
from audiocls.params.run import RunParams
from audiocls.sources.manifest import list_clips
from audiocls.splits.prepared_data import PreparedData
from audiocls.waveforms.corpus import collect_corpus
from audiocls.waveforms.mapped import MappedWaveforms
from audiocls.waveforms.shards import write_shard
from audiocls.waveforms.store import plan_store


def main() -> int:
    parser = argparse.ArgumentParser(description="One epoch's inputs with and without the feature store.")
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--clips", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=2.0, help="length of the model's input")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(arguments, Path(folder))))
    return 0


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, object]:
    table = pd.read_csv(arguments.manifest).head(arguments.clips)
    table["path"] = [str(arguments.manifest.parent.absolute() / path) for path in table["path"]]
    table["split"] = "train"
    table.to_csv(folder / "clips.csv", index=False)
    params = RunParams.model_validate(
        {
            "workspace": folder,
            "data": {"source": "table", "path": str(folder / "clips.csv"), "split_column": "split"},
            "audio": {"max_seconds": arguments.seconds, "truncate": "head", "cache_features": "always"},
            "model": {"family": "audio-spectrogram-transformer"},
        }
    )
    manifest = list_clips(params.data, folder)
    plan = plan_store(manifest, params.audio, folder)
    for shard in plan.shards:
        write_shard(shard, params.audio)
    corpus = collect_corpus(manifest, plan, folder)
    clips = pd.read_parquet(corpus.clips)
    epoch(clips, corpus.store, params, None)  # maps the waveforms, so that both find them unpacked
    without = epoch(clips, corpus.store, params, None)
    filling, features = fill(corpus.clips, corpus.store, params)
    first = epoch(clips, corpus.store, params, features)
    return {
        "benchmark": "cache_features",
        "clips": len(clips),
        "max_seconds": arguments.seconds,
        "epoch_seconds_without": round(without, 2),
        "fill_seconds": round(filling, 2),
        "first_epoch_seconds_with": round(first, 2),  # unpacks the shards
        "epoch_seconds_with": round(epoch(clips, corpus.store, params, features), 3),
        "parquet_mb": megabytes(features / "shards"),
        "unpacked_mb": megabytes(features / "unpacked"),
    }


def fill(clips: Path, waveforms: Path, params: RunParams) -> tuple[float, Path]:
    start = time.perf_counter()
    plan = plan_features(PreparedData(clips, waveforms, params))
    if plan is None:
        raise SystemExit("this family has no feature store; there is nothing to compare.")
    for shard in plan.shards:
        write_features(shard, params.audio)
    return time.perf_counter() - start, plan.store


def epoch(clips: pd.DataFrame, waveforms: Path, params: RunParams, store: Path | None) -> float:
    extractor = build_extractor(params.model, params.audio)
    normalise_by_training(extractor, clips, waveforms, params)
    start = time.perf_counter()
    features = map_features(store, clips, extractor, params.audio) if store else None
    dataset = ClipDataset(
        clips, MappedWaveforms(clips, waveforms), sorted(clips["label"].unique()), params.audio,
        training=True, features=features,
    )  # fmt: skip
    loader = DataLoader(dataset, batch_size=32, shuffle=True, collate_fn=Collator(extractor, params.audio))
    for _ in loader:
        pass
    return time.perf_counter() - start


def megabytes(folder: Path) -> float:
    return round(sum(path.stat().st_size for path in folder.iterdir()) / 1e6, 1)


if __name__ == "__main__":
    sys.exit(main())
