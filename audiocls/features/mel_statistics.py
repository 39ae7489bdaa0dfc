"""Statistics of a clip's log-mel spectrogram: a description of its sound that no training has changed."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from audiocls.models import LogMel
from audiocls.waveforms import MappedWaveforms

_MEL_BINS: Final = 40
_WINDOW_SECONDS: Final = 0.025
_HOP_SECONDS: Final = 0.01
_LOWEST_HZ: Final = 50.0
_PARTS: Final = 8
_MOST_SECONDS: Final = 60  # of a clip


def mel_statistics(clips: pd.DataFrame, store: Path, sample_rate_hz: int) -> NDArray[np.float32]:
    """Describe the sound of each clip: mean, deviation and change of each mel bin, and its mean in eight parts of time.

    Only the first minute of a clip is read.

    Args:
        clips: Rows of the clips table.
        store: The waveform store.
        sample_rate_hz: Of the store.

    Returns:
        Shape (num_clips, 440).
    """
    log_mel, waveforms = _log_mel(sample_rate_hz), MappedWaveforms(clips, store)
    found = np.empty((len(clips), _MEL_BINS * (3 + _PARTS)), np.float32)
    for index in range(len(clips)):
        samples = torch.from_numpy(waveforms.read(index, 0, _MOST_SECONDS * sample_rate_hz))[None]
        frames = log_mel(samples, torch.ones_like(samples, dtype=torch.bool))[0][0]
        changes = frames.diff(dim=0).abs().sum(0) / max(len(frames) - 1, 1)
        parts = F.adaptive_avg_pool1d(frames.T, _PARTS).flatten()
        found[index] = torch.cat([frames.mean(0), frames.std(0, correction=0), changes, parts]).numpy()
    return found


def _log_mel(sample_rate_hz: int) -> LogMel:
    window = round(_WINDOW_SECONDS * sample_rate_hz)
    return LogMel(
        sampling_rate=sample_rate_hz,
        num_mel_bins=_MEL_BINS,
        window_samples=window,
        hop_samples=round(_HOP_SECONDS * sample_rate_hz),
        fft_size=2 ** (2 * window - 1).bit_length(),
        min_frequency_hz=_LOWEST_HZ,
        max_frequency_hz=0.475 * sample_rate_hz,
    )
