"""How long clips are as the model sees them, and how short ones are filled."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from audiocls.params import AudioParams


def input_samples(audio: AudioParams) -> int:
    """Return the length of the model's input in samples."""
    return round(audio.max_seconds * audio.sample_rate_hz)


def longest_samples(audio: AudioParams) -> int:
    """Return the length of the longest waveform that is given to the extractor, in samples."""
    return round(audio.max_file_seconds * audio.sample_rate_hz) if audio.truncate == "fusion" else input_samples(audio)


def cut_of(audio: AudioParams, *, training: bool) -> Literal["random", "head", "center", "fusion"]:
    """Return where long clips are cut: in evaluation at the same place every time."""
    return audio.truncate if training or audio.truncate != "random" else "center"


def fill(
    waveform: NDArray[np.float32], samples: int, pad: Literal["zero", "repeat", "repeat_pad"]
) -> NDArray[np.float32]:
    """Repeat a clip shorter than `samples` as the policy says; the zeros come with the batch.

    Args:
        waveform: Shape (length,), length <= samples.
        samples: Length to fill.
        pad: `repeat` fills all of it and cuts the last repeat; `repeat_pad` stops at the last whole one.
    """
    whole = filled_length(len(waveform), samples, pad)
    return waveform if whole == len(waveform) else np.resize(waveform, whole)


def filled_length(length: int, samples: int, pad: Literal["zero", "repeat", "repeat_pad"]) -> int:
    """Return how long a clip is once `fill` has repeated it."""
    if pad == "zero" or length >= samples:
        return length
    return samples if pad == "repeat" else samples // length * length
