#!/usr/bin/env python3
"""Compare an epoch of training of the present `logmel-resnet` with its first version.

    python benchmarks/logmel_resnet.py params/phrases.yaml [--rounds 5] [--steps N] [--threads 2] [key=value ...]

Decodes the recordings of a params file into a temporary store, and trains both networks on the same batches from it:
reading, log-mel, forward, backward, gradient clipping, AdamW. The rounds alternate in one process. Prints a JSON line:
seconds per epoch, and the median and the range of the ratios, first version to present, in wall-clock time and in CPU
time, which other programs affect less.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from audiocls.batches.dataset import ClipDataset, Collator
from audiocls.models.log_mel import LogMel
from audiocls.models.logmel_resnet import LogmelResnetEncoder, LogmelResnetForAudioClassification
from audiocls.models.logmel_resnet_config import LogmelResnetConfig
from audiocls.models.waveform_extractor import WaveformFeatureExtractor
from audiocls.params.run import RunParams
from audiocls.params_file.reading import load_params
from audiocls.sources import class_names
from audiocls.sources.manifest import list_clips
from audiocls.waveforms.corpus import collect_corpus
from audiocls.waveforms.mapped import MappedWaveforms
from audiocls.waveforms.shards import write_shard
from audiocls.waveforms.store import plan_store

FIRST = {"num_mel_bins": 64, "window_ms": 25.0, "input_affine": True}
Seconds = tuple[float, float]  # by the clock, of the processor


class FirstLogMel(LogMel):
    """Log-mel frames as they were first computed."""

    def _mel(self, waveforms: Tensor, num_frames: int) -> Tensor:
        spectrum = torch.stft(
            waveforms,
            n_fft=self.fft_size,
            hop_length=self.hop_samples,
            win_length=self.window_samples,
            window=self.window.float(),
            center=True,
            pad_mode="constant",
            return_complex=True,
        )
        power = (spectrum.real.square() + spectrum.imag.square()).transpose(1, 2)
        return power[:, :num_frames] @ self.filters.float()


class FirstEncoder(LogmelResnetEncoder):
    """The first network, whose frames were to be channels last, and were not."""

    def _as_image(self, frames: Tensor) -> Tensor:
        return frames.unsqueeze(1).contiguous(memory_format=torch.channels_last)


class Network:
    """A model, its optimizer, and how long its epochs took."""

    def __init__(self, params: RunParams, num_labels: int, *, first: bool) -> None:
        fields = {"sampling_rate": params.audio.sample_rate_hz} | params.model.config | (FIRST if first else {})
        torch.manual_seed(params.seed)
        self.model = LogmelResnetForAudioClassification(LogmelResnetConfig(num_labels=num_labels, **fields)).train()
        if first:
            # The same weights and modules, computed as they were.
            self.model.encoder.__class__ = FirstEncoder
            self.model.encoder.log_mel.__class__ = FirstLogMel
            self.model.encoder.stem[0].__class__ = torch.nn.Conv2d
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=params.training.learning_rate, fused=True)
        self.seconds: list[Seconds] = []

    def train(self, batches: Iterator[dict[str, Tensor]]) -> None:
        """Train on each batch once, and note how long it took."""
        clock, processor = time.perf_counter(), time.process_time()
        for batch in batches:
            self.model(**batch).loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad()
        self.seconds.append((time.perf_counter() - clock, time.process_time() - processor))


def main() -> int:
    parser = argparse.ArgumentParser(description="An epoch of logmel-resnet against its first version.")
    parser.add_argument("params", type=Path)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, help="batches in a round; a whole epoch if not given")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_intermixed_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        params = load_params(arguments.params, [*arguments.overrides, f"workspace={folder}"])
        print(json.dumps(measure(params, arguments)))
    return 0


def measure(params: RunParams, arguments: argparse.Namespace) -> dict[str, object]:
    clips, dataset = read_corpus(params)
    extractor = WaveformFeatureExtractor(sampling_rate=params.audio.sample_rate_hz)
    loader = DataLoader(
        dataset, params.training.batch_size, shuffle=True, collate_fn=Collator(extractor, params.audio),
        generator=torch.Generator(),
    )  # fmt: skip
    networks = {name: Network(params, clips["label"].nunique(), first=name == "first") for name in ("first", "present")}
    for round_ in range(-1, arguments.rounds):  # the first warms up
        for network in networks.values():
            loader.generator.manual_seed(round_ + 1)
            network.train(islice(loader, arguments.steps if round_ >= 0 else 3))
    first, present = (network.seconds[1:] for network in networks.values())
    return {
        "benchmark": "logmel_resnet",
        "experiment": params.experiment,
        "clips": len(dataset),
        "batch_size": params.training.batch_size,
        "steps": min(arguments.steps or len(loader), len(loader)),
        "threads": arguments.threads,
        "rounds": arguments.rounds,
        **compare(first, present),
    }


def read_corpus(params: RunParams) -> tuple[pd.DataFrame, ClipDataset]:
    """Fill a store; return the usable clips, and those for training: all, where the source gives no split."""
    manifest = list_clips(params.data, params.workspace)
    plan = plan_store(manifest, params.audio, params.workspace)
    for shard in plan.shards:
        write_shard(shard, params.audio)
    corpus = collect_corpus(manifest, plan, params.workspace)
    clips = pd.read_parquet(corpus.clips)
    if "split" in clips and clips["split"].notna().any():
        clips = clips[clips["split"] == "train"]
    waveforms = MappedWaveforms(clips, corpus.store)
    return clips, ClipDataset(clips, waveforms, class_names(clips), params.audio, training=True)


def compare(first: list[Seconds], present: list[Seconds]) -> dict[str, object]:
    results: dict[str, object] = {}
    for kind, name in enumerate(("clock", "processor")):
        ratios = [old[kind] / new[kind] for old, new in zip(first, present, strict=True)]
        results[f"{name}_seconds_first"] = round(statistics.median(old[kind] for old in first), 2)
        results[f"{name}_seconds_present"] = round(statistics.median(new[kind] for new in present), 2)
        results[f"{name}_ratio"] = round(statistics.median(ratios), 2)
        results[f"{name}_ratio_range"] = [round(min(ratios), 2), round(max(ratios), 2)]
    return results


if __name__ == "__main__":
    sys.exit(main())
