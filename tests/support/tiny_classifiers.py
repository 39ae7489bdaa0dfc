"""Untrained models that are quick, and noise to classify with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import torch

from audiocls.models.families import build_model, save_model
from audiocls.models.inference_settings import InferenceSettings, write_settings
from audiocls.params.model import ModelParams
from audiocls.params.run import AudioParams


def save_classifier(folder: Path, labels: str = "abc", seed: int = 1, *, multi_label: bool = False) -> Path:
    """Save a small model with weights of a seed; its labels are single letters, of which a clip may have any number."""
    torch.manual_seed(seed)
    audio = AudioParams(max_seconds=0.4)
    params = ModelParams(config={"channels": [4, 8]})
    model, extractor = build_model(params, audio, list(labels), multi_label=multi_label)
    torch.nn.init.normal_(model.classifier.weight)
    save_model(model, extractor, folder)
    write_settings(InferenceSettings(audio=audio, labels=list(labels), multi_label=multi_label), folder)
    return folder


def write_noise(path: Path, seconds: float, seed: int) -> Path:
    """Write a recording of noise at 16 kHz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(seed).uniform(-0.3, 0.3, round(seconds * 16_000))
    soundfile.write(path, samples, 16_000)
    return path


def write_clips(folder: Path, count: int) -> Path:
    """Write clips of 0.1 to 1.5 s, one that is no audio, and a text file."""
    for number in range(count):
        write_noise(folder / f"{number % 3}" / f"{number:04d}.wav", 0.1 + number % 7 * 0.2, number)
    (folder / "broken.wav").write_text("no audio")
    (folder / "notes.txt").write_text("a text")
    return folder
