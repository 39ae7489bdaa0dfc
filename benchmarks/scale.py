#!/usr/bin/env python3
"""Measure how every stage scales with the corpus: seconds, peak memory and open files, for 1,000 to 100,000 clips.

    python benchmarks/scale.py [--clips 1000 10000 100000] [--rows 1000000] [--folder DIR]

Creates notes of 0.25 s, twenty per group, in ten classes, and runs the stages of a training one after another on one
core, each in its own process: listing, decoding, near-duplicates, audit, splits with their ledger, features, the first
training step, loading of one epoch, and evaluation. `--rows` runs the stages that need no audio on rows without audio.
Prints a JSON line for each number of clips, and a Markdown table at the end. `growth` is the exponent of n in the
seconds, relative to the previous row.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}

import numpy as np
import pandas as pd
import soundfile
import torch
from torch.utils.data import BatchSampler, DataLoader, RandomSampler

from audiocls.audit.census import count_corpus
from audiocls.audit.duplicates import find_duplicates
from audiocls.audit.report import write_audit
from audiocls.balance.selection import balance
from audiocls.batches.dataset import ClipDataset, Collator
from audiocls.batches.training_batches import TrainingClips
from audiocls.evaluation.scoring import evaluate
from audiocls.features.store import plan_features, write_features
from audiocls.models.families import build_model
from audiocls.near_duplicates.pairs import find_near_duplicates
from audiocls.params.run import RunParams
from audiocls.sources.columns import MANIFEST_SCHEMA
from audiocls.sources.manifest import list_clips
from audiocls.splits.assignment import assign_splits, ledger_of
from audiocls.splits.prepared_data import PreparedData
from audiocls.splits.units import wide_unit_findings
from audiocls.training.run import fit
from audiocls.waveforms.corpus import CLIPS_SCHEMA, Corpus, collect_corpus
from audiocls.waveforms.mapped import MappedWaveforms
from audiocls.waveforms.shards import write_shard
from audiocls.waveforms.store import plan_store

RATE_HZ, SECONDS = 8_000, 0.25
CLASSES, CLIPS_PER_GROUP = 10, 20
SAMPLE_SECONDS = 0.02
AST = {
    "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "max_length": 24,
    "num_mel_bins": 32, "patch_size": 8, "time_stride": 8, "frequency_stride": 8,
}  # fmt: skip


class Cost(NamedTuple):
    """What a stage took, in a process of its own."""

    seconds: float
    peak_mb: int
    open_files: int


def main() -> int:
    arguments = parse()
    torch.set_num_threads(1)
    found: dict[int, dict[str, Cost]] = {}
    for clips in arguments.clips:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            report(clips, found, Stages(Path(folder), clips).run())
    if arguments.rows:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            report(arguments.rows, found, Stages(Path(folder), arguments.rows).run_without_audio())
    print(markdown(found))
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Growth of every stage with the corpus.")
    parser.add_argument("--clips", type=int, nargs="*", default=[1_000, 10_000, 100_000])
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows for the stages that need no audio; 0: none")
    parser.add_argument("--folder", help="where the clips and stores are made for a while: 30 KB a clip")
    return parser.parse_args()


class Stages:
    """The stages of one training, in their order."""

    def __init__(self, folder: Path, clips: int) -> None:
        """Make a corpus of `clips` clips below `folder`, but for their audio."""
        self.folder, self.clips = folder, clips
        self.costs: dict[str, Cost] = {}
        self.params = run_params(folder)

    def run(self) -> dict[str, Cost]:
        """Run every stage and return its cost."""
        write_notes(self.folder, self.clips)
        manifest = self.measure("listing", self._list)
        corpus = self.measure("decoding", lambda: self._decode(manifest))
        near = self.measure("near-duplicates", lambda: find_near_duplicates(corpus.clips, corpus.store))
        self.measure(
            "audit",
            lambda: write_audit(corpus, near, self.folder / "audit", wide_unit_findings(corpus.clips, near)) and None,
        )
        splits = self.measure("splits and ledger", lambda: self._split(corpus.clips, near))
        balanced = balance(splits, self.params.balance, self.params.seed, self.folder)
        self.measure("features", lambda: self._compute_features(splits, corpus.store))
        self.measure("first training step", lambda: self._first_step(splits, corpus.store))
        self.measure("loading of an epoch", lambda: self._load(splits, corpus.store))
        # Ten steps of training are enough for a model to evaluate; the validation that fit adds is evaluation too.
        few = few_held_out(splits, self.folder)
        data = PreparedData(few, corpus.store, self.params)
        model = fit(data, balanced, self.folder / "run", lambda *_: None).folder
        self.measure("evaluation", lambda: evaluate(model, replace(data, split_clips=splits), self.folder) and None)
        return self.costs

    def run_without_audio(self) -> dict[str, Cost]:
        """Run the stages that need no audio, on rows of files that are not there."""
        write_table(self.folder, self.clips)
        manifest = self.measure("listing", self._list)
        clips = write_clips(manifest, self.folder)
        self.measure("audit", lambda: count(clips))  # of its parts, those that read no audio
        splits = self.measure("splits and ledger", lambda: self._split(clips, None))
        self.measure("balance", lambda: balance(splits, self.params.balance, 1, self.folder) and None)
        return self.costs

    def measure(self, name: str, work: Callable[[], Any]) -> Any:
        """Do the work of a stage in a process of its own, and return what it returns."""
        print(f"{self.clips} clips: {name}", file=sys.stderr)
        here, there = multiprocessing.get_context("fork").Pipe()
        process = multiprocessing.get_context("fork").Process(target=send_measured, args=(there, work))
        process.start()
        there.close()
        result, self.costs[name] = here.recv()
        process.join()
        return result

    def _list(self) -> Path:
        return list_clips(self.params.data, self.folder)

    def _decode(self, manifest: Path) -> Corpus:
        plan = plan_store(manifest, self.params.audio, self.folder)
        for shard in plan.shards:
            write_shard(shard, self.params.audio)
        return collect_corpus(manifest, plan, self.folder)

    def _split(self, clips: Path, near: Path | None) -> Path:
        ledger = ledger_of("scale", self.params.split, self.params.seed, self.folder)
        return assign_splits(clips, self.params.split, self.params.seed, self.folder, ledger, near)

    def _compute_features(self, splits: Path, store: Path) -> None:
        model = {"family": "audio-spectrogram-transformer", "config": AST}
        params = RunParams.model_validate(self.params.model_dump() | {"model": model})
        plan = plan_features(PreparedData(splits, store, params))
        assert plan is not None
        for shard in plan.shards:
            write_features(shard, params.audio)

    def _dataset(self, splits: Path, store: Path) -> ClipDataset:
        table = pd.read_parquet(splits).query("split == 'train'")
        labels = sorted(table["label"].unique())
        return ClipDataset(table, MappedWaveforms(table, store), labels, self.params.audio, training=True)

    def _loader(self, splits: Path, store: Path) -> tuple[Any, DataLoader[Any]]:
        dataset = self._dataset(splits, store)
        model, extractor = build_model(self.params.model, self.params.audio, [str(i) for i in range(CLASSES)])
        collator = Collator(extractor, self.params.audio)
        clips = TrainingClips(dataset, 1)
        sampler = BatchSampler(RandomSampler(clips), self.params.training.batch_size, drop_last=False)

        def collate(batch: Any) -> dict[str, Any]:  # a TrainingBatch, where torch's types expect a list
            return collator(batch.examples)

        return model, DataLoader(clips, batch_sampler=sampler, collate_fn=collate)

    def _first_step(self, splits: Path, store: Path) -> None:
        model, loader = self._loader(splits, store)
        model(**next(iter(loader))).loss.backward()

    def _load(self, splits: Path, store: Path) -> None:
        for _ in self._loader(splits, store)[1]:
            pass


def run_params(folder: Path) -> RunParams:
    return RunParams.model_validate(
        {
            "workspace": str(folder),
            "data": {"source": "table", "path": str(folder / "clips.csv"), "group_column": "group"},
            "audio": {"sample_rate_hz": RATE_HZ, "max_seconds": SECONDS, "cache_features": "always"},
            "split": {"near_duplicates": "ignore"},
            "training": {"batch_size": 32, "max_steps": 10},
        }
    )


def write_table(folder: Path, clips: int) -> None:
    number = np.arange(clips)
    group = number // CLIPS_PER_GROUP
    table = pd.DataFrame({"path": [f"{n // 1_000}/{n}.wav" for n in number], "label": number % CLASSES, "group": group})
    table.to_csv(folder / "clips.csv", index=False)


def write_notes(folder: Path, clips: int) -> None:
    """Write notes of four random partials in noise; the class says in which octave part the lowest one is."""
    write_table(folder, clips)
    time_s = np.arange(round(SECONDS * RATE_HZ)) / RATE_HZ
    for number in range(clips):
        rng = np.random.default_rng(number)
        lowest = 200 * 1.2 ** (number % CLASSES) * rng.uniform(0.95, 1.05)
        hz = lowest * np.array([1, *rng.uniform(1.3, 8, 3)])
        strength, decay = rng.uniform(0.1, 1, 4), rng.uniform(2, 20)
        note = strength @ np.sin(2 * np.pi * hz[:, None] * time_s + rng.uniform(0, 6, (4, 1))) * np.exp(-decay * time_s)
        path = folder / str(number // 1_000) / f"{number}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, 0.2 * note + rng.normal(0, 0.02, len(note)), RATE_HZ)


def write_clips(manifest: Path, folder: Path) -> Path:
    """Write the table that decoding would make of a manifest, each clip with a hash of its own."""
    rows = pd.read_parquet(manifest)
    samples = round(SECONDS * RATE_HZ)
    names = [f"{n:032x}" for n in range(len(rows))]
    made = {"audio_hash": names, "content_sha256": names, "recording_hash": names, "shard": "0"}
    measures = {"num_samples": samples, "duration_seconds": SECONDS, "source_rate_hz": RATE_HZ, "source_channels": 1}
    levels = dict.fromkeys(("peak", "rms_db", "clipped_fraction", "dc_offset", "silence_fraction", "first_sample"), 0)
    table = rows.assign(**made, **measures, **levels, scale=1.0, start_sample=0, source_format="WAV/PCM_16")
    table[CLIPS_SCHEMA.names].to_parquet(folder / "clips.parquet", schema=CLIPS_SCHEMA, index=False)
    return folder / "clips.parquet"


def count(clips: Path) -> None:
    table = pd.read_parquet(clips)
    count_corpus(table, pd.DataFrame(columns=[*MANIFEST_SCHEMA.names]))
    find_duplicates(table)


def few_held_out(splits: Path, folder: Path) -> Path:
    """Leave out all but 100 clips of validation: what training looks at after its last step."""
    table = pd.read_parquet(splits)
    held_out = table.index[table["split"] == "validation"][100:]
    table.loc[held_out, "split"] = "test"
    table.to_parquet(folder / "few.parquet")
    return folder / "few.parquet"


def send_measured(pipe: Any, work: Callable[[], Any]) -> None:
    """Send what work returns and what it cost."""
    peak, ended = [0], threading.Event()
    watch = threading.Thread(target=count_open_files, args=(peak, ended))
    watch.start()
    start = time.perf_counter()
    result = work()
    seconds = time.perf_counter() - start
    ended.set()
    watch.join()
    pipe.send((result, Cost(seconds, round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3), peak[0])))


def count_open_files(peak: list[int], ended: threading.Event) -> None:
    while True:
        peak[0] = max(peak[0], len(list(Path("/proc/self/fd").iterdir())))
        if ended.wait(SAMPLE_SECONDS):
            return


def report(clips: int, found: dict[int, dict[str, Cost]], costs: dict[str, Cost]) -> None:
    """Print one row as JSON, with the growth since the row before."""
    before = max(found, default=0)
    row: dict[str, Any] = {"benchmark": "scale", "clips": clips}
    for stage, cost in costs.items():
        row[stage] = cost._asdict() | {"seconds": round(cost.seconds, 2)}
        if before and stage in found[before]:
            ratio = cost.seconds / found[before][stage].seconds
            row[stage]["growth"] = round(math.log(ratio) / math.log(clips / before), 2)
    found[clips] = costs
    print(json.dumps(row), flush=True)


def markdown(found: dict[int, dict[str, Cost]]) -> str:
    stages = dict.fromkeys(stage for costs in found.values() for stage in costs)
    lines = ["| stage | " + " | ".join(f"{clips:,}" for clips in found) + " |", "|---" * (len(found) + 1) + "|"]
    for stage in stages:
        cells = [f"{c.seconds:.1f} s, {c.peak_mb:,} MB, {c.open_files}" if c else "" for c in by_stage(found, stage)]
        lines.append(f"| {stage} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def by_stage(found: dict[int, dict[str, Cost]], stage: str) -> list[Cost | None]:
    return [costs.get(stage) for costs in found.values()]


if __name__ == "__main__":
    sys.exit(main())
