"""The length of model inputs, and the padding of short clips."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from audiocls.params import AudioParams


def input_samples(audio: AudioParams) -> int:
    """Return the length of the model's input in samples."""
    return round(audio.max_seconds * audio.sample_rate_hz)


def longest_samples(audio: AudioParams) -> int:
    """Return the length of the longest waveform passed to the extractor, in samples."""
    return round(audio.max_file_seconds * audio.sample_rate_hz) if audio.truncate == "fusion" else input_samples(audio)


def cut_of(audio: AudioParams, *, training: bool) -> Literal["random", "head", "center", "fusion"]:
    """Return where long clips are cut; in evaluation, the position is fixed."""
    return audio.truncate if training or audio.truncate != "random" else "center"


def fill(
    waveform: NDArray[np.float32], samples: int, pad: Literal["zero", "repeat", "repeat_pad"]
) -> NDArray[np.float32]:
    """Repeat a clip shorter than `samples` according to `pad`; zeros are added by the batch.

    Args:
        waveform: Shape (length,), length <= samples.
        samples: Target length.
        pad: `repeat` fills the whole length and cuts the last repeat; `repeat_pad` stops after the last whole one.
    """
    whole = filled_length(len(waveform), samples, pad)
    return waveform if whole == len(waveform) else np.resize(waveform, whole)


def filled_length(length: int, samples: int, pad: Literal["zero", "repeat", "repeat_pad"]) -> int:
    """Return the length of a clip after `fill`."""
    if pad == "zero" or length >= samples:
        return length
    return samples if pad == "repeat" else samples // length * length
