#!/usr/bin/env python3
"""Measure the speed and memory of filling the waveform store, compared with bare decoding of the same files.

    python benchmarks/fill_store.py speed   [--manifest data/phrases/manifest.csv] [--clips 1024] [--rounds 3]
    python benchmarks/fill_store.py datasets [--manifest ...] [--clips 1024]
    python benchmarks/fill_store.py memory  [--sizes 2000,20000]
    python benchmarks/fill_store.py long    [--hours 1]
    python benchmarks/fill_store.py rerun   [--clips 20000]

speed     Clips per second of the store, divided by those of a bare soundfile and soxr loop that stores nothing. Both
          use two processes and the same files, in alternating rounds; reports the median ratio. Two corpora: 44.1 kHz
          stereo OGG of 3 s, and 8 kHz WAV of 1.5 s.
datasets  The same WAV files through `datasets`' map: with Audio(sampling_rate=16000) if torchcodec works, and with
          Audio(decode=False) and soundfile and soxr in the mapped function.
memory    The peak resident memory of a process that fills a store in two threads, the default of flows, for each size.
long      The same for one long 44.1 kHz stereo recording as WAV, FLAC and MP3, in blocks and decoded as a whole.
rerun     Time of filling again without changes, as a fraction of the first time.

Times and ratios are reported in wall-clock time, which other load on the machine affects, and in CPU time of planning
and the workers (`cpu_`), which it affects less. The library fills the store without Prefect; `rerun` includes the
listing of the files, `speed` does not. The files are created in a temporary folder, from the recordings of a manifest
if given, else from synthetic audio.

Prints one JSON line per measurement.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}

import numpy as np
import pandas as pd
import soundfile
import soxr
from numpy.typing import NDArray

from audiocls.decoding import clip_files
from audiocls.params.data import TableData
from audiocls.params.run import AudioParams
from audiocls.sources.manifest import list_clips
from audiocls.waveforms.shards import ShardPlan, write_shard
from audiocls.waveforms.store import plan_store

PROCESSES = 2
RATE_HZ = 16_000
AUDIO = AudioParams(sample_rate_hz=RATE_HZ, max_file_seconds=4 * 3_600.0)
WAV = ("wav", 8_000, 1, 1.5)
OGG = ("ogg", 44_100, 2, 3.0)


def main() -> int:
    arguments = parse()
    with tempfile.TemporaryDirectory() as folder:
        for result in PARTS[arguments.part](arguments, Path(folder)):
            print(json.dumps({"benchmark": f"fill_store {arguments.part}", **result}), flush=True)
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Filling the waveform store: speed, memory, reruns.")
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--manifest", type=Path, help="a table of real recordings, column path, to make the files of")
    # A multiple of eight shards of 128: with less, one of the processes waits for the other.
    parser.add_argument("--clips", type=int, default=1_024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", default="2000,20000")
    parser.add_argument("--hours", type=float, default=1.0)
    return parser.parse_args()


def speed(arguments: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    for name, corpus in (("44.1 kHz stereo OGG, 3 s", OGG), ("8 kHz WAV, 1.5 s", WAV)):
        number = arguments.clips // 4 if corpus is OGG else arguments.clips  # one of them takes as long as forty of WAV
        files = make_files(folder / corpus[0], number, corpus, arguments.manifest)
        with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
            rounds = [compare(files, folder, pool) for _ in range(arguments.rounds + 1)][1:]  # the first starts workers
        ratios = [bare.wall / store.wall for store, bare in rounds]
        cpu_ratios = [bare.cpu / store.cpu for store, bare in rounds]
        yield {
            "corpus": name,
            "made_of": "recordings" if arguments.manifest else "made audio",
            "clips": len(files),
            "processes": PROCESSES,
            "store_clips_per_second": round(statistics.median(len(files) / store.wall for store, _ in rounds)),
            "bare_clips_per_second": round(statistics.median(len(files) / bare.wall for _, bare in rounds)),
            "ratio": round(statistics.median(ratios), 3),
            "cpu_ratio": round(statistics.median(cpu_ratios), 3),
            "ratios": [round(ratio, 3) for ratio in ratios],
            "cpu_ratios": [round(ratio, 3) for ratio in cpu_ratios],
            "store_cpu_us_per_clip": round(statistics.median(store.cpu for store, _ in rounds) / len(files) * 1e6),
            "bare_cpu_us_per_clip": round(statistics.median(bare.cpu for _, bare in rounds) / len(files) * 1e6),
        }


class Cost(NamedTuple):
    """Seconds by the clock, and of the processors, all processes together."""

    wall: float
    cpu: float


def compare(files: list[Path], folder: Path, pool: ProcessPoolExecutor) -> tuple[Cost, Cost]:
    """Return what the store costs and what the bare loop does, one right after the other."""
    half = -(-len(files) // PROCESSES)
    manifest = list_files(files, folder / "workspace")
    halves = [files[i : i + half] for i in range(0, len(files), half)]
    bare = cost(lambda: sum(pool.map(decode_alone_cpu_seconds, halves)))
    store = cost(lambda: fill(manifest, folder / "workspace", pool.map))
    shutil.rmtree(folder / "workspace")
    return store, bare


def cost(work: Callable[[], float]) -> Cost:
    """Take the time of work that returns the processors' seconds of its workers; this process's own are added."""
    start, cpu = time.perf_counter(), time.process_time()
    workers = work()
    return Cost(time.perf_counter() - start, time.process_time() - cpu + workers)


def decode_alone_cpu_seconds(files: list[Path]) -> float:
    return cpu_seconds(lambda: decode_alone(files))


def write_shard_cpu_seconds(shard: ShardPlan) -> float:
    return cpu_seconds(lambda: write_shard(shard, AUDIO))


def cpu_seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def decode_alone(files: list[Path]) -> int:
    """Decode, mix and resample, and keep nothing."""
    return sum(len(decode_file(file)) for file in files)


def decode_file(file: Path | str) -> NDArray[np.float32]:
    signal, rate_hz = soundfile.read(file, dtype="float32", always_2d=True)
    mono = signal[:, 0] if signal.shape[1] == 1 else signal.mean(axis=1)
    resampled: NDArray[np.float32] = soxr.resample(np.ascontiguousarray(mono), rate_hz, RATE_HZ, quality="HQ")
    return resampled


def list_files(files: list[Path], workspace: Path) -> Path:
    """Write a table of the files and the manifest made from it."""
    workspace.mkdir(exist_ok=True)
    table = workspace / "clips.csv"
    pd.DataFrame({"path": [str(file) for file in files], "label": "any"}).to_csv(table, index=False)
    return list_clips(TableData(source="table", path=table), workspace)


def fill(manifest: Path, workspace: Path, mapped: Callable[..., Any]) -> float:
    """Plan and write shards, the latter by a map of threads or processes; return the workers' seconds of processors."""
    return sum(mapped(write_shard_cpu_seconds, plan_store(manifest, AUDIO, workspace).shards))


def against_datasets(arguments: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    import datasets

    datasets.disable_progress_bars()
    files = make_files(folder / "wav", arguments.clips, WAV, arguments.manifest)
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        store = min(compare(files, folder, pool)[0].wall for _ in range(arguments.rounds + 1))
    listed = datasets.Dataset.from_dict({"audio": [str(file) for file in files]})
    undecoded = listed.cast_column("audio", datasets.Audio(decode=False))

    def decode_path(row: dict[str, Any]) -> dict[str, Any]:
        return {"samples": decode_file(row["audio"]["path"])}

    def decode_audio(row: dict[str, Any]) -> dict[str, Any]:
        return {"samples": np.asarray(row["audio"]["array"], np.float32)}

    def timed(data: datasets.Dataset, function: Callable[[dict[str, Any]], dict[str, Any]]) -> float:
        return seconds(
            lambda: data.map(function, remove_columns=["audio"], num_proc=PROCESSES, load_from_cache_file=False)
        )

    stand_in = timed(undecoded, decode_path)
    result: dict[str, Any] = {
        "clips": len(files),
        "processes": PROCESSES,
        "store_clips_per_second": round(len(files) / store),
        "ratio": None,
        "stand_in": "map over Audio(decode=False) with soundfile and soxr in the function",
        "stand_in_clips_per_second": round(len(files) / stand_in),
        "stand_in_ratio": round(stand_in / store, 2),
    }
    try:
        import torchcodec  # noqa: F401
    except (ImportError, OSError, RuntimeError) as error:
        yield result | {"why_no_ratio": f"torchcodec cannot be had: {str(error).splitlines()[0]}"}
        return
    decoded = timed(listed.cast_column("audio", datasets.Audio(sampling_rate=RATE_HZ)), decode_audio)
    yield result | {"ratio": round(decoded / store, 2), "datasets_clips_per_second": round(len(files) / decoded)}


def memory(arguments: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    peaks = {}
    for size in (int(text) for text in arguments.sizes.split(",")):
        files = make_files(folder / str(size), size, WAV, arguments.manifest)
        peaks[size] = fill_in_child(files[0].parent, folder / f"workspace-{size}")
        yield {"clips": size, "threads": PROCESSES, **peaks[size]}
    first, *_, last = (peak["largest_resident_mb"] for peak in peaks.values())
    yield {"largest_over_smallest": round(last / first, 3), "allowed": 1.2}


def long(arguments: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    for suffix in ("wav", "flac", "mp3"):
        file = make_long(folder / suffix / f"long.{suffix}", arguments.hours)
        ways = {"blocks": {}, "whole": {WHOLE: "1"}}
        if arguments.hours > 1:  # a whole recording of 3 hours takes 10 GB
            del ways["whole"]
        for how, variables in ways.items():
            peak = fill_in_child(file.parent, folder / f"workspace-{suffix}-{how}", **variables)
            yield {"format": suffix, "hours": arguments.hours, "decoded": how, **peak}
        file.unlink()


def make_long(path: Path, hours: float) -> Path:
    """Write noise, minute by minute."""
    path.parent.mkdir()
    minute = np.random.default_rng(0).normal(0, 0.1, (44_100 * 60, 2)).astype(np.float32)
    with soundfile.SoundFile(path, "w", 44_100, 2) as file:
        for number in range(round(hours * 60)):
            file.write(np.roll(minute, number * 977, axis=0))
    return path


def fill_in_child(files: Path, workspace: Path, **variables: str) -> dict[str, float]:
    """Return what `fill_and_tell` says in a process of its own."""
    command = [sys.executable, __file__, str(files), str(workspace)]
    variables = os.environ | {CHILD: "1"} | variables
    watched = subprocess.run(command, check=True, capture_output=True, text=True, env=variables)
    told: dict[str, float] = json.loads(watched.stdout)
    return told


def fill_and_tell(files: Path, workspace: Path) -> None:
    """Fill a store in this process, and say how much memory that took before and in the end."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if WHOLE in os.environ:
        clip_files.LONG_BYTES = sys.maxsize  # type: ignore[misc]
    with ThreadPoolExecutor(PROCESSES) as threads:
        fill(list_files(sorted(files.iterdir()), workspace), workspace, threads.map)
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"largest_resident_mb": round(largest / 1e3, 1), "after_imports_mb": round(before / 1e3, 1)}))


def rerun(arguments: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    files = make_files(folder / "wav", arguments.clips, WAV, arguments.manifest)
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        list(pool.map(decode_alone, [files[:1]] * PROCESSES))  # starts the workers
        first, again = (
            cost(lambda: fill(list_files(files, folder / "workspace"), folder / "workspace", pool.map))
            for _ in range(2)
        )
    yield {
        "clips": len(files),
        "processes": PROCESSES,
        "first_seconds": round(first.wall, 2),
        "again_seconds": round(again.wall, 2),
        "share": round(again.wall / first.wall, 3),
        "cpu_share": round(again.cpu / first.cpu, 3),
        "allowed": 0.1,
    }


def make_files(folder: Path, number: int, corpus: tuple[str, int, int, float], manifest: Path | None) -> list[Path]:
    """Write files of one length and format, no two alike, out of recordings where there are some."""
    suffix, rate_hz, channels, length_seconds = corpus
    folder.mkdir()
    sound = recordings(manifest, rate_hz) if manifest else made_audio(rate_hz)
    frames = round(length_seconds * rate_hz)
    rng = np.random.default_rng(1)
    paths = []
    for i in range(number):
        starts = rng.integers(len(sound) - frames, size=channels)
        signal = np.stack([sound[start : start + frames] for start in starts], axis=1)
        paths.append(folder / f"{i:06}.{suffix}")
        soundfile.write(paths[-1], signal, rate_hz)
    return paths


def recordings(manifest: Path, rate_hz: int) -> NDArray[np.float32]:
    """Join the recordings of a table, up to ten minutes, at one rate, without their silent parts."""
    parts: list[NDArray[np.float32]] = []
    for path in pd.read_csv(manifest)["path"]:
        signal, source_hz = soundfile.read(manifest.parent / path, dtype="float32", always_2d=True)
        if len(signal) and np.abs(signal).max() > 0.01:
            parts.append(soxr.resample(np.ascontiguousarray(signal[:, 0]), source_hz, rate_hz))
        if sum(map(len, parts)) > 600 * rate_hz:
            break
    return np.concatenate(parts)


def made_audio(rate_hz: int) -> NDArray[np.float32]:
    """Return a minute of a voice-like buzz in noise, which compresses as speech does and not as a tone."""
    rng = np.random.default_rng(1)
    time_seconds = np.arange(60 * rate_hz) / rate_hz
    pitch = 120 + 40 * np.sin(2 * np.pi * 0.7 * time_seconds)
    phase = 2 * np.pi * np.cumsum(pitch) / rate_hz
    buzz = sum(np.sin(k * phase) / k for k in range(1, 12)) * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * time_seconds))
    return (0.2 * buzz + 0.01 * rng.standard_normal(len(buzz))).astype(np.float32)


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


CHILD, WHOLE = "AUDIOCLS_FILL_AND_TELL", "AUDIOCLS_FILL_WHOLE"
PARTS = {"speed": speed, "datasets": against_datasets, "memory": memory, "long": long, "rerun": rerun}

if __name__ == "__main__":
    if CHILD in os.environ:
        fill_and_tell(Path(sys.argv[1]), Path(sys.argv[2]))
    else:
        sys.exit(main())
