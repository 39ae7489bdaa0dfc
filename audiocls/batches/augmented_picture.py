"""Show what the transforms of a run do to its clips."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

from audiocls.augmentation import Augmenter, Sounds, clip_seeds
from audiocls.batches.dataset import ClipDataset
from audiocls.batches.lengths import longest_samples
from audiocls.params import AnyAugmentation
from audiocls.plots import Panel, draw_spectrograms
from audiocls.sources import class_names, label_text
from audiocls.splits import PreparedData
from audiocls.waveforms import MappedWaveforms

_CLIPS = 3
_MEL_BINS = 64
_WINDOW_SECONDS, _HOP_SECONDS = 0.025, 0.010
_FLOOR_DB = -100.0


def draw_augmented(data: PreparedData, target: Path) -> Path:
    """Draw what `augmented_panels` computes, as PNG."""
    return draw_spectrograms(augmented_panels(data), target)


def augmented_panels(data: PreparedData) -> dict[str, list[Panel]]:
    """Compute log-mel spectrograms of training clips, one per class: unchanged, after each transform, and after all.

    Each transform is shown with probability 1, and all of them together with their probabilities in training.

    Returns:
        The rows by name, each with one panel per clip.
    """
    params = data.params
    table = pd.read_parquet(data.split_clips)
    labels = class_names(table)
    clips = table[table["split"] == "train"].drop_duplicates("label").head(_CLIPS)
    dataset = ClipDataset(clips, MappedWaveforms(clips, data.waveforms), labels, params.audio, training=False)
    read = [dataset.waveform(i) for i in range(len(clips))]
    longest = max(map(len, read))
    waveforms = torch.stack([torch.nn.functional.pad(torch.from_numpy(w), (0, longest - len(w))) for w in read])
    lengths = torch.tensor([len(waveform) for waveform in read])
    targets = torch.tensor(dataset.targets)

    def augmented(steps: Sequence[AnyAugmentation]) -> list[Panel]:
        rate_hz, samples = params.audio.sample_rate_hz, longest_samples(params.audio)
        augmenter = Augmenter(steps, sample_rate_hz=rate_hz, max_samples=samples, num_classes=len(labels))
        return _panels(
            augmenter(waveforms, lengths, targets, clip_seeds(params.seed, range(len(read)))), labels, rate_hz
        )

    rows = {"as it is": augmented([])}
    for number, step in enumerate(params.augmentation, start=1):
        rows[f"{number}. {step.kind}"] = augmented([step.model_copy(update={"probability": 1.0})])
    return rows | {"all": augmented(params.augmentation)}


def _panels(sounds: Sounds, labels: list[str], rate_hz: int) -> list[Panel]:
    clips = zip(sounds.waveforms, sounds.lengths.tolist(), sounds.targets, strict=True)
    return [
        Panel(log_mel_db(waveform[:length].numpy(), rate_hz), length / rate_hz, _shares(target, labels))
        for waveform, length, target in clips
    ]


def _shares(target: torch.Tensor, labels: list[str]) -> str:
    """Name the classes of a clip: "yes", "yes + no" if it has both, or "0.7 yes + 0.3 no" for a mixture."""
    parts = [(share, labels[i]) for i, share in enumerate(target.tolist()) if share > 0]
    if all(share == 1 for share, _ in parts):
        return label_text(name for _, name in parts)
    return parts[0][1] if len(parts) == 1 else " + ".join(f"{share:.2f} {name}" for share, name in sorted(parts)[::-1])


def log_mel_db(waveform: NDArray[np.float32], rate_hz: int) -> NDArray[np.float32]:
    """Return the levels of a sound in decibels relative to full scale, shape (mel_bins, frames)."""
    window = round(_WINDOW_SECONDS * rate_hz)
    fft_size = 2 ** int(np.ceil(np.log2(window)) + 1)
    # A full-scale tone is 0 dB: its peak is window / 4, and the Hann window spreads its power over 1.5 bins.
    full_scale = window / 4 * np.sqrt(1.5 * fft_size / window)
    frames: NDArray[np.float32] = spectrogram(
        waveform.astype(np.float64),
        window_function(window, "hann") / full_scale,
        frame_length=window,
        hop_length=round(_HOP_SECONDS * rate_hz),
        fft_length=fft_size,
        power=2.0,
        pad_mode="constant",
        mel_filters=mel_filter_bank(fft_size // 2 + 1, _MEL_BINS, 0.0, rate_hz / 2, rate_hz),
        mel_floor=10 ** (_FLOOR_DB / 10),
        log_mel="dB",
    )
    return frames
