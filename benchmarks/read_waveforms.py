#!/usr/bin/env python3
"""Measure the speed and memory of reading random batches of one-second clips from a warm waveform store.

    python benchmarks/read_waveforms.py [--clips 20000] [--batch 32] [--seconds 5]

Writes a store of synthetic one-second clips at 16 kHz to a temporary folder, reads it once to fill the page cache, and
then reads random batches on one core, as the DataLoader of training does. Prints a JSON line: clips per second, read
as float32 only and as batches of model inputs, in wall-clock time and in CPU time, which excludes other programs; the
size of the store; the anonymous memory of the process; and its mapped part of the page cache, which the system can
reclaim.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

# One core: a thread pool of BLAS's or torch's would count others in.
os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch.utils.data import BatchSampler, DataLoader, RandomSampler

from audiocls.batches.dataset import ClipDataset, Collator
from audiocls.models.waveform_extractor import WaveformFeatureExtractor
from audiocls.params.run import AudioParams
from audiocls.waveforms.mapped import MappedWaveforms, unpack_shard
from audiocls.waveforms.store import SHARD_CLIPS

RATE_HZ = 16_000
AUDIO = AudioParams(sample_rate_hz=RATE_HZ, max_seconds=1.0)


def main() -> int:
    arguments = parse()
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as folder:
        clips = write_store(Path(folder), arguments.clips)
        before = memory_mb("RssAnon")
        waveforms = MappedWaveforms(clips, Path(folder))
        dataset = ClipDataset(clips, waveforms, ["made"], AUDIO, training=True)
        warm(waveforms)
        reads = best(lambda: read_alone(waveforms, arguments.batch, arguments.seconds), arguments.rounds)
        batches = best(lambda: read_batches(dataset, arguments.batch, arguments.seconds), arguments.rounds)
        result = {
            "benchmark": "read_waveforms",
            "clips": arguments.clips,
            "batch": arguments.batch,
            "clips_per_second_read": reads[0],
            "clips_per_cpu_second_read": reads[1],
            "clips_per_second_batches": batches[0],
            "clips_per_cpu_second_batches": batches[1],
            "store_mb": round(arguments.clips * RATE_HZ * 2 / 1e6),
            "own_memory_mb": memory_mb("RssAnon"),
            "own_memory_before_mb": before,
            "mapped_pages_mb": memory_mb("RssFile"),
            "largest_resident_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3),
            "cores": 1,
        }
    print(json.dumps(result))
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Random batches from a warm waveform store.")
    parser.add_argument("--clips", type=int, default=20_000, help="one-second clips in the store, 32 KB each")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each of the measurements runs")
    parser.add_argument("--rounds", type=int, default=3, help="the best of so many, as others may use the core")
    return parser.parse_args()


def write_store(store: Path, number: int) -> pd.DataFrame:
    """Write shards of noise with the columns that reading needs; return the clips table."""
    rng = np.random.default_rng(1)
    (store / "shards").mkdir()
    for start in range(0, number, SHARD_CLIPS):
        noise = [rng.bytes(2 * RATE_HZ) for _ in range(start, min(start + SHARD_CLIPS, number))]
        shard = pa.table({"samples": pa.array(noise, pa.binary())})
        pq.write_table(shard, store / "shards" / f"{start}.parquet", compression="none", use_dictionary=False)
        unpack_shard(store, str(start))
    position = np.arange(number)
    return pd.DataFrame(
        {
            "label": "made",
            "shard": (position // SHARD_CLIPS * SHARD_CLIPS).astype(str),
            "first_sample": position % SHARD_CLIPS * RATE_HZ,
            "num_samples": RATE_HZ,
            "scale": 1.0,
        }
    )


def warm(waveforms: MappedWaveforms) -> None:
    for index in range(len(waveforms)):
        waveforms.read(index)


def best(read: Callable[[], int], rounds: int) -> tuple[int, int]:
    """Return clips per second by the clock and by the processor's time, each of the best round."""
    rates = []
    for _ in range(rounds):
        clock, processor = time.perf_counter(), time.process_time()
        clips = read()
        rates.append((clips / (time.perf_counter() - clock), clips / (time.process_time() - processor)))
    return round(max(rate for rate, _ in rates)), round(max(rate for _, rate in rates))


def read_alone(waveforms: MappedWaveforms, batch: int, seconds: float) -> int:
    """Read for some seconds and return how many clips, each as a float32 array, in random batches."""
    rng = np.random.default_rng(1)
    clips, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        for index in rng.integers(len(waveforms), size=batch).tolist():
            waveforms.read(index)
        clips += batch
    return clips


def read_batches(dataset: ClipDataset, batch: int, seconds: float) -> int:
    """Read for some seconds and return how many clips, as batches of inputs through the data loader of torch."""
    sampler = BatchSampler(RandomSampler(dataset, replacement=True, num_samples=1 << 30), batch, drop_last=False)
    collate = Collator(WaveformFeatureExtractor(sampling_rate=RATE_HZ), AUDIO)
    clips, start = 0, time.perf_counter()
    for inputs in DataLoader(dataset, batch_sampler=sampler, collate_fn=collate):
        clips += len(inputs["labels"])
        if time.perf_counter() - start >= seconds:
            break
    return clips


def memory_mb(name: str) -> int | None:
    """Return a line of /proc/self/status in MB; None where the system has no such file."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return round(int(lines[name].split()[0]) / 1e3)


if __name__ == "__main__":
    sys.exit(main())
