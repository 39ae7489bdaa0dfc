#!/usr/bin/env python3
"""Compare batched front ends with the families' own extractors: speed and difference of the spectrograms.

    python benchmarks/spectrograms.py [--clips 16] [--seconds 5] [--device cpu]

The input is noise, with the extractors' defaults: Whisper's window is 30 seconds, CLAP's 10 seconds at 48 kHz, filled
with repeats. The extractors run on one core, and so do the front ends, unless --device is cuda; their times then
include the transfer. Prints a JSON line: milliseconds per clip of both, from the best round, their ratio, and the
largest absolute difference in the model's inputs. On the CPU, times are CPU time, which excludes other programs.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}

import numpy as np
import torch
from transformers import ASTFeatureExtractor, ClapFeatureExtractor, SeamlessM4TFeatureExtractor, WhisperFeatureExtractor

from audiocls.models.inputs import build_front_end, extractor_inputs


def main() -> int:
    parser = argparse.ArgumentParser(description="Batched front ends against the families' own extractors.")
    parser.add_argument("--clips", type=int, default=16, help="in a batch")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of a clip, at most 10")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    extractors = {
        "audio-spectrogram-transformer": ASTFeatureExtractor(),
        "wav2vec2-bert": SeamlessM4TFeatureExtractor(),
        "whisper": WhisperFeatureExtractor(),
        "clap": ClapFeatureExtractor(truncation="rand_trunc"),
    }
    measured = {family: measure(extractor, arguments) for family, extractor in extractors.items()}
    settings = {"clips": arguments.clips, "seconds": arguments.seconds, "device": arguments.device}
    print(json.dumps({"benchmark": "spectrograms", **settings, "families": measured}))
    return 0


def measure(extractor: Any, arguments: argparse.Namespace) -> dict[str, float]:
    samples = round(arguments.seconds * extractor.sampling_rate)
    waveforms = np.random.default_rng(0).normal(0, 0.1, (arguments.clips, samples)).astype(np.float32)
    lengths = torch.full((arguments.clips,), samples)
    front_end = build_front_end(extractor, samples)
    assert front_end is not None

    def batched() -> dict[str, torch.Tensor]:
        inputs = front_end(torch.from_numpy(waveforms).to(arguments.device), lengths.to(arguments.device))
        if arguments.device == "cuda":
            torch.cuda.synchronize()
        return inputs

    expected, found = extractor_inputs(list(waveforms), extractor, samples), batched()
    error = max(float((found[name].cpu().double() - expected[name].double()).abs().max()) for name in expected)
    clock = time.perf_counter if arguments.device == "cuda" else time.process_time
    seconds = best(lambda: extractor_inputs(list(waveforms), extractor, samples), arguments.rounds, clock)
    batched_seconds = best(batched, arguments.rounds, clock)
    return {
        "extractor_ms_per_clip": round(seconds * 1e3 / arguments.clips, 3),
        "batched_ms_per_clip": round(batched_seconds * 1e3 / arguments.clips, 3),
        "ratio": round(seconds / batched_seconds, 2),
        "largest_error": float(f"{error:.2g}"),
    }


def best(run: Callable[[], object], rounds: int, clock: Callable[[], float]) -> float:
    times = []
    for _ in range(rounds):
        start = clock()
        run()
        times.append(clock() - start)
    return min(times)


if __name__ == "__main__":
    sys.exit(main())
