"""The background of a clip: the sound in its pauses, which comes from the room, the microphone and the codec."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audiocls.waveforms import MappedWaveforms

NUM_BANDS: Final = 8
_FRAME_SECONDS: Final = 0.032
_LONGEST_SECONDS: Final = 20.0
_QUIET_FRACTION: Final = 0.1
# Frames less far below the clip's level are not a pause: the sound itself continues, and belongs to the class.
_PAUSE_DB: Final = 20.0
_FLOOR: Final = 1e-12


def measure_backgrounds(clips: pd.DataFrame, store: Path, sample_rate_hz: int) -> NDArray[np.float64]:
    """Measure the spectrum of each clip's quietest frames; NaN if a clip has no pause.

    Returns:
        Shape (num_clips, NUM_BANDS), in dB; only differences between clips matter.
    """
    waveforms = MappedWaveforms(clips, store)
    longest = round(_LONGEST_SECONDS * sample_rate_hz)
    rows = [_background(waveforms.read(i, 0, longest), sample_rate_hz) for i in range(len(waveforms))]
    return np.array(rows).reshape(-1, NUM_BANDS)


def _background(waveform: NDArray[np.float32], sample_rate_hz: int) -> NDArray[np.float64]:
    frame = round(_FRAME_SECONDS * sample_rate_hz)
    if len(waveform) < 4 * frame:
        return np.full(NUM_BANDS, np.nan)
    frames = np.lib.stride_tricks.sliding_window_view(waveform, frame)[:: frame // 2]
    energy = np.square(frames).mean(axis=1)
    quiet = frames[np.argsort(energy)[: max(2, int(_QUIET_FRACTION * len(frames)))]]
    if 10 * np.log10((np.square(quiet).mean() + _FLOOR) / (energy.mean() + _FLOOR)) > -_PAUSE_DB:
        return np.full(NUM_BANDS, np.nan)
    power = (np.abs(np.fft.rfft(quiet * np.hanning(frame), axis=1)) ** 2).mean(axis=0)
    edges = np.geomspace(2, len(power), NUM_BANDS + 1).astype(int)
    means = [power[low:high].mean() for low, high in pairwise(edges)]
    return 10 * np.log10(np.array(means, dtype=np.float64) + _FLOOR)
