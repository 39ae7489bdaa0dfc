#!/usr/bin/env python3
"""PyTorch against ONNX Runtime in float32 and in int8, on one thread: a transformer and a convolutional network.

    OMP_NUM_THREADS=1 python benchmarks/onnx_speed.py WHISPER [--clips 60] [--rounds 5]

The transformer is the encoder of WHISPER, a folder with weights of any size, such as those of openai/whisper-tiny.en,
under a linear head that is fitted to half of some spoken digits (extra `sample`); macro-F1 is of the other half. The
convolutional network is a `logmel-resnet` of the default size, untrained. Prints a JSON line: milliseconds per window
of each runtime, by the best of some rounds in turns, and as ratios to PyTorch; bytes; and how far the answers are from
those of PyTorch. Times are CPU seconds of the process, which do not count what other programs took of the core.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression

from audiocls.batches import input_samples
from audiocls.inference import Classifier, export_onnx, load_onnx
from audiocls.inference.onnx_runtime import OnnxKind
from audiocls.inference.runtime import Runtime
from audiocls.models import InferenceSettings, build_model, load_model, save_model, write_settings
from audiocls.params import AudioParams, ModelParams
from audiocls.sources.sample import build_sample_corpus

KINDS: Final[tuple[OnnxKind, ...]] = ("onnx", "onnx-int8")


def main() -> int:
    parser = argparse.ArgumentParser(description="PyTorch against ONNX Runtime, on one thread.")
    parser.add_argument("whisper", type=Path, help="a folder with the weights of a Whisper")
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clips, labels = spoken_digits(folder / "clips", arguments.clips)
        models = {
            "whisper": (ModelParams(family="whisper", pretrained=str(arguments.whisper)), 30.0, 1),
            "logmel-resnet": (ModelParams(), 2.0, 8),
        }
        found = {}
        for family, (params, seconds, batch) in models.items():
            save(params, AudioParams(max_seconds=seconds), sorted(set(labels)), folder / family)
            if family == "whisper":
                fit_head(folder / family, clips[::2], labels[::2])
            known = labels[1::2] if family == "whisper" else None  # the other is untrained
            found[family] = measure(folder / family, clips[1::2], known, batch, arguments.rounds)
    print(json.dumps(found))
    return 0


def spoken_digits(folder: Path, clips: int) -> tuple[list[Path], list[str]]:
    """Return files and labels in an order that mixes the classes."""
    build_sample_corpus(folder, voices=10, clips=clips, imbalance_ratio=1.0, seed=3)
    table = pd.read_csv(folder / "manifest.csv").sample(frac=1.0, random_state=0)
    return [folder / path for path in table["path"]], list(table["label"])


def save(params: ModelParams, audio: AudioParams, labels: Sequence[str], folder: Path) -> None:
    torch.manual_seed(0)
    model, extractor = build_model(params, audio, labels)
    save_model(model, extractor, folder)
    write_settings(InferenceSettings(audio=audio, labels=list(labels)), folder)


def fit_head(folder: Path, clips: Sequence[Path], labels: Sequence[str]) -> None:
    """Fit the classifier to what the encoder makes of some clips, and write it back."""
    model, extractor = load_model(folder)
    with torch.inference_mode():
        embedded = model.projector(torch.from_numpy(Classifier.load(folder).embed(list(clips)))).numpy()
    scale = embedded.std(0) + 1e-6
    head = LogisticRegression(max_iter=1_000).fit(embedded / scale, labels)
    assert list(head.classes_) == [model.config.id2label[i] for i in range(model.config.num_labels)]
    model.classifier.weight.data[:] = torch.from_numpy(head.coef_ / scale)
    model.classifier.bias.data[:] = torch.from_numpy(head.intercept_)
    save_model(model, extractor, folder)


def measure(
    folder: Path, clips: Sequence[Path], labels: Sequence[str] | None, batch: int, rounds: int
) -> dict[str, Any]:
    exports = {
        kind: export_onnx(folder, int8=kind == "onnx-int8", clips=list(clips), labels=labels, max_disagreement=1.0)
        for kind in KINDS
    }
    plain = Classifier.load(folder)
    runtimes = {"torch": plain.runtime} | {kind: load_onnx(folder, kind, threads=1)[0] for kind in exports}
    samples = input_samples(plain.settings.audio)
    taken = [
        {kind: cpu_seconds(runtime, samples, batch) for kind, runtime in runtimes.items()} for _ in range(rounds + 1)
    ]
    best = {kind: min(each[kind] for each in taken[1:]) / batch for kind in runtimes}
    return {
        "batch": batch,
        "ms_per_window": {kind: round(1e3 * seconds, 1) for kind, seconds in best.items()},
        "times_as_fast_as_torch": {kind: round(best["torch"] / best[kind], 2) for kind in exports},
        "torch_bytes": exports["onnx"].torch_bytes,
        "bytes": {kind: each.bytes for kind, each in exports.items()},
        "clips": exports["onnx"].parity.clips,
        "logit_range": round(exports["onnx"].parity.logit_range, 3),
        "max_abs_error": {kind: float(f"{each.parity.max_abs_error:.2g}") for kind, each in exports.items()},
        "disagreement": {kind: each.parity.disagreement for kind, each in exports.items()},
        "f1_macro": {"torch": exports["onnx"].parity.f1_macro_torch}
        | {kind: each.parity.f1_macro for kind, each in exports.items()},
    }


def cpu_seconds(runtime: Runtime, samples: int, batch: int) -> float:
    windows = [np.random.default_rng(i).normal(0, 0.1, samples).astype(np.float32) for i in range(batch)]
    start = time.process_time()
    runtime.logits(windows)
    return time.process_time() - start


if __name__ == "__main__":
    sys.exit(main())
