"""Overlapping windows of long clips, which validation and test score, so that all of a clip is used.

A clip's probabilities are the mean over its windows. Probabilities are averaged and not logits, because a single
confident window, such as one of a click or of silence, would outweigh all others in a mean of logits.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from audiocls.batches.lengths import input_samples
from audiocls.params import AudioParams


class Windows(NamedTuple):
    """The windows of some clips, in the order of the clips; each array has the shape (num_windows,)."""

    clip: NDArray[np.int64]  # clip of each window, ascending from 0 without gaps
    start: NDArray[np.int64]  # in samples from the clip's start
    length: NDArray[np.int64]  # in samples


def place_windows(num_samples: NDArray[np.int64], audio: AudioParams) -> Windows:
    """Return the windows of each clip; a clip that is not longer than the model's input is a single window.

    The windows of a longer clip are as long as the input and start every `hop_samples`; the last one ends at the end
    of the clip. A stream of unknown length is split in the same way.

    Args:
        num_samples: Lengths of the clips, shape (num_clips,).
        audio: Length of the input, and the hop.
    """
    counts = windows_per_clip(num_samples, audio)
    clip = np.repeat(np.arange(len(num_samples)), counts)
    index = np.arange(len(clip)) - np.repeat(np.cumsum(counts) - counts, counts)
    surplus = np.where(counts[clip] > 1, num_samples[clip] - input_samples(audio), 0)
    start = np.minimum(index * hop_samples(audio), surplus)
    return Windows(clip, start, num_samples[clip] - surplus)


def windows_per_clip(num_samples: NDArray[np.int64], audio: AudioParams) -> NDArray[np.int64]:
    """Return the number of windows of each clip, shape (num_clips,); 1 if the model fuses the whole clip."""
    if audio.truncate == "fusion":
        return np.ones(len(num_samples), np.int64)
    samples = input_samples(audio)
    surplus = np.maximum(num_samples - samples, 0)
    return 1 + -(-surplus // hop_samples(audio))


def hop_samples(audio: AudioParams) -> int:
    """Return the distance between the starts of two windows in samples."""
    if audio.chunk is not None:
        return min(max(1, round(audio.chunk.hop * audio.sample_rate_hz)), input_samples(audio))
    return max(1, round(input_samples(audio) * (1 - audio.window_overlap)))


def average_windows(logits: NDArray[Any], clip: NDArray[np.int64]) -> NDArray[np.float32]:
    """Average the probabilities of each clip's windows.

    Args:
        logits: Logits of the windows, shape (num_windows, num_classes).
        clip: Clip of each window, ascending from 0 without gaps, shape (num_windows,).

    Returns:
        Shape (num_clips, num_classes): the unchanged logits of clips with one window, and the log of the mean
        probabilities of other clips, which are logits too.
    """
    return WindowAverager(clip).add(logits)


class WindowAverager:
    """Average as `average_windows` does, batch by batch, and keep only the sum of one clip."""

    def __init__(self, clip: NDArray[np.int64]) -> None:
        """Expect windows in the order of `clip`, which is as for `average_windows`."""
        self._clip = clip
        self._counts = np.bincount(clip)
        self._next = 0
        # Log of the summed probabilities of the incomplete clip, (0 or 1, classes).
        self._open: NDArray[np.float64] | None = None

    def add(self, logits: NDArray[Any]) -> NDArray[np.float32]:
        """Add the next windows; return the clips that they complete, shape (clips, classes), in order."""
        if not len(self._clip) or len(self._counts) == len(self._clip):
            return np.asarray(logits, np.float32)
        clip = self._clip[self._next : self._next + len(logits)]
        self._next += len(logits)
        log_probabilities = torch.log_softmax(torch.as_tensor(logits, dtype=torch.float64), dim=1).numpy()
        held = 0 if self._open is None else 1
        if self._open is not None:
            # As an extra window, so that the sum is bit-identical for any batch boundaries.
            log_probabilities, clip = np.vstack([self._open, log_probabilities]), np.append(clip[0], clip)
        first = np.flatnonzero(np.diff(clip, prepend=-1))
        sums = np.logaddexp.reduceat(log_probabilities, first, axis=0)
        is_open = self._next < len(self._clip) and self._clip[self._next] == clip[-1]
        self._open = sums[-1:] if is_open else None
        whole = len(first) - is_open
        counts = self._counts[clip[first[:whole]]][:, None]
        alone = np.asarray(logits)[first[:whole] - held]
        return np.where(counts == 1, alone, sums[:whole] - np.log(counts)).astype(np.float32)
