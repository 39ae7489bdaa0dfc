"""Long recordings and many short clips: times real time, memory, and clips a second, against what one would write.

    python -m benchmarks.predict long [--hours 1 --long-hours 10] [--folder FOLDER]
    python -m benchmarks.predict clips [--clips 5000] [--folder FOLDER]

`long` scores a stereo recording at 44.1 kHz, as WAV and as FLAC, in windows of 1 s with a logmel-resnet, by
`audiocls predict`'s library, with PyTorch and with ONNX Runtime, and by a bare loop of soundfile, soxr and the model.
`clips` scores clips of 1 s, by the library and by transformers' pipeline, whose files soundfile decodes. Each
measurement is a process of its own, and a JSON line: seconds of wall-clock and CPU time without the start of Python and
the loading of the model, and the peak of its resident memory.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
import torch
from numpy.typing import NDArray

from audiocls.inference import PredictParams, RuntimeKind, export_onnx, locked_journal, plan_predictions, score_shard
from audiocls.models import InferenceSettings, build_model, load_model, save_model, write_settings
from audiocls.params import AudioParams, ModelParams

RATE_HZ = 44_100
LABELS = [f"label {number}" for number in range(10)]
AUDIO = AudioParams(max_seconds=1.0, window_overlap=0.0)
BATCH = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["long", "clips", *_SCORERS])
    parser.add_argument("paths", nargs="*", type=Path, help="of a measurement: the model, and what is scored")
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--long-hours", type=float, default=10.0)
    parser.add_argument("--clips", type=int, default=5_000)
    parser.add_argument("--folder", type=Path, help="for what is made; kept, and made once")
    arguments = parser.parse_args()
    if arguments.what in _SCORERS:
        _measure_here(arguments.what, *arguments.paths)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        model = make_model(folder / "model")
        if arguments.what == "long":
            export_onnx(model)
            measure_long(folder, model, arguments.hours, arguments.long_hours)
        else:
            measure_clips(folder, model, arguments.clips)


def measure_long(folder: Path, model: Path, hours: float, long_hours: float) -> None:
    for suffix in ("wav", "flac"):
        short = make_recording(folder / f"{hours:g}h.{suffix}", hours)
        bare = report("bare", model, short, hours=hours)
        ours = report("ours", model, short, hours=hours, bare_seconds=bare["seconds"])
        report("ours_onnx", model, short, hours=hours, torch_seconds=ours["seconds"])
        if suffix == "flac":
            long = make_recording(folder / f"{long_hours:g}h.{suffix}", long_hours)
            report("ours", model, long, hours=long_hours, rss_mb_of_short=ours["rss_mb"])


def measure_clips(folder: Path, model: Path, count: int) -> None:
    clips = make_clips(folder / f"clips-{count}", count)
    few = max(1, count // 10)  # a clip at a time, which is how the pipeline is used by default, takes minutes
    report("pipeline_single", model, make_clips(folder / f"clips-{few}", few), clips=few)
    batched = report("pipeline_batched", model, clips, clips=count)
    report("ours", model, clips, clips=count, pipeline_seconds=batched["seconds"])


def report(scorer: str, model: Path, given: Path, **about: Any) -> dict[str, Any]:
    """Measure in a process of its own, print a JSON line, and return what it says."""
    command = [sys.executable, "-m", "benchmarks.predict", scorer, str(model), str(given)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    line = {"scorer": scorer, "given": given.name, **about, **found}
    if "hours" in about:
        line["times_real_time"] = round(about["hours"] * 3_600 / found["seconds"], 1)
    else:
        line["clips_per_second"] = round(about["clips"] / found["seconds"], 1)
    print(json.dumps(line), flush=True)
    return found


def _measure_here(scorer: str, model: Path, given: Path) -> None:
    files = sorted(given.glob("*.wav")) if given.is_dir() else [given]
    run = _SCORERS[scorer](model, files)
    began, began_cpu = time.perf_counter(), time.process_time()
    windows = run()
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - began_cpu
    found = {
        "seconds": round(seconds, 2), "cpu_seconds": round(cpu_seconds, 2), "rss_mb": peak_mb(), "scored": windows,
        "threads": torch.get_num_threads(),
    }  # fmt: skip
    print(json.dumps(found))


def peak_mb() -> int:
    """Return the peak of this process's memory; that of getrusage counts the one it was forked off as well."""
    (peak,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(peak.split()[1]) // 1024


def score_ours(model: Path, files: list[Path], runtime: RuntimeKind = "torch") -> Callable[[], int]:
    folder = tempfile.TemporaryDirectory()
    out = Path(folder.name) / "out.parquet"

    params = PredictParams((str(model),), "cpu", runtimes=(runtime,))
    with locked_journal(out):
        plan_predictions([], {}, params, out)  # loads the model

    def run() -> int:
        with locked_journal(out):
            plan = plan_predictions([str(file) for file in files], {}, params, out)
            return sum(score_shard(shard, plan.params) for shard in plan.shards)

    return run


def score_bare(model: Path, files: list[Path]) -> Callable[[], int]:
    network, extractor = load_model(model)
    network.eval()

    @torch.inference_mode()
    def run() -> int:
        rows = []
        for batch in _batches(_bare_windows(files[0])):
            rows.append(network(**extractor(batch, sampling_rate=16_000, return_tensors="pt")).logits.softmax(-1))
        return len(torch.cat(rows))

    return run


def _bare_windows(file: Path) -> Iterator[NDArray[np.float32]]:
    held = np.zeros(0, np.float32)
    resampler = soxr.ResampleStream(RATE_HZ, 16_000, 1, "float32", "HQ")
    with soundfile.SoundFile(file) as opened:
        for block in opened.blocks(1 << 18, dtype="float32", always_2d=True):
            held = np.concatenate([held, resampler.resample_chunk(block.mean(axis=1))])
            while len(held) >= 16_000:
                yield held[:16_000]
                held = held[16_000:]


def _batches(windows: Iterator[NDArray[np.float32]]) -> Iterator[list[NDArray[np.float32]]]:
    batch = []
    for window in windows:
        batch.append(window)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def score_pipeline(model: Path, files: list[Path], batch_size: int) -> Callable[[], int]:
    from transformers import pipeline

    classify = pipeline("audio-classification", model=str(model), device="cpu")

    def decoded() -> Iterator[dict[str, Any]]:
        for file in files:
            samples, rate_hz = soundfile.read(file, dtype="float32")
            yield {"raw": samples, "sampling_rate": rate_hz}

    return lambda: len(list(classify(decoded(), batch_size=batch_size)))


_SCORERS: dict[str, Callable[[Path, list[Path]], Callable[[], int]]] = {
    "ours": score_ours,
    "ours_onnx": lambda model, files: score_ours(model, files, "onnx"),
    "bare": score_bare,
    "pipeline_single": lambda model, files: score_pipeline(model, files, 1),
    "pipeline_batched": lambda model, files: score_pipeline(model, files, BATCH),
}


def make_model(folder: Path) -> Path:
    """Save an untrained model: what its weights are makes no difference to the time."""
    torch.manual_seed(0)
    save_model(*build_model(ModelParams(), AUDIO, LABELS), folder)
    write_settings(InferenceSettings(audio=AUDIO, labels=LABELS), folder)
    return folder


def make_recording(path: Path, hours: float) -> Path:
    """Write chirps in noise, a minute again and again, in stereo and with 16 bits."""
    if path.exists():
        return path
    rng = np.random.default_rng(1)
    times = np.arange(60 * RATE_HZ) / RATE_HZ
    chirps = 0.3 * np.sin(2 * np.pi * (200 + 50 * (times % 2)) * times) * (times % 2 < 1)
    minute = np.stack([chirps, 0.5 * chirps], axis=1) + rng.normal(0, 0.01, (len(times), 2))
    minute_16 = (minute * 32_767).astype(np.int16)
    with soundfile.SoundFile(path, "w", RATE_HZ, 2, "PCM_16") as file:
        for _ in range(round(hours * 60)):
            file.write(minute_16)
    return path


def make_clips(folder: Path, count: int) -> Path:
    """Write clips of 1 s of noise at 16 kHz."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(2)
    for number in range(count):
        path = folder / f"{number:05d}.wav"
        if not path.exists():
            soundfile.write(path, rng.normal(0, 0.1, 16_000), 16_000)
    return folder


if __name__ == "__main__":
    main()
