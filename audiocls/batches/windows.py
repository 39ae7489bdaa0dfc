"""Long clips in overlapping windows: what validation and test score, so that nothing of a clip goes unheard.

A clip's probabilities are the mean of its windows'. Probabilities and not logits, because each window then has one
vote: in a mean of logits one window that is sure of itself, on a click or on silence, outweighs all the others.
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

    clip: NDArray[np.int64]  # of which clip each window is, ascending from 0 without gaps
    start: NDArray[np.int64]  # in samples from the clip's first
    length: NDArray[np.int64]  # in samples


def place_windows(num_samples: NDArray[np.int64], audio: AudioParams) -> Windows:
    """Return where the windows of each clip lie; a clip no longer than the model's input is its one window.

    The windows of a longer clip are each as long as the input and overlap by `audio.window_overlap`; the last one ends
    where the clip does. A stream whose end is not known yet is cut in the same way.

    Args:
        num_samples: Lengths of the clips, shape (num_clips,).
        audio: Length of the input, and the overlap.
    """
    counts = windows_per_clip(num_samples, audio)
    clip = np.repeat(np.arange(len(num_samples)), counts)
    index = np.arange(len(clip)) - np.repeat(np.cumsum(counts) - counts, counts)
    surplus = np.where(counts[clip] > 1, num_samples[clip] - input_samples(audio), 0)
    start = np.minimum(index * hop_samples(audio), surplus)
    return Windows(clip, start, num_samples[clip] - surplus)


def windows_per_clip(num_samples: NDArray[np.int64], audio: AudioParams) -> NDArray[np.int64]:
    """Return into how many windows each clip is cut, shape (num_clips,); one where the model fuses all of a clip."""
    if audio.truncate == "fusion":
        return np.ones(len(num_samples), np.int64)
    samples = input_samples(audio)
    surplus = np.maximum(num_samples - samples, 0)
    return 1 + -(-surplus // hop_samples(audio))


def hop_samples(audio: AudioParams) -> int:
    """Return the distance between the starts of two windows in samples."""
    return max(1, round(input_samples(audio) * (1 - audio.window_overlap)))


def average_windows(logits: NDArray[Any], clip: NDArray[np.int64]) -> NDArray[np.float32]:
    """Average the probabilities of each clip's windows.

    Args:
        logits: Of the windows, shape (num_windows, num_classes).
        clip: Of which clip each is, ascending from 0 without gaps, shape (num_windows,).

    Returns:
        Shape (num_clips, num_classes): the logits of clips with one window, as they are; the logarithms of the mean
        probabilities of the others, which are logits too.
    """
    return WindowAverager(clip).add(logits)


class WindowAverager:
    """Does what `average_windows` does with a batch of windows at a time, and keeps no more than one clip's sum."""

    def __init__(self, clip: NDArray[np.int64]) -> None:
        """Expect windows in the order of `clip`, which is as for `average_windows`."""
        self._clip = clip
        self._counts = np.bincount(clip)
        self._next = 0
        # Of the clip whose windows are not all there: the sum of their probabilities, as logarithms, (0 or 1, classes).
        self._open: NDArray[np.float64] | None = None

    def add(self, logits: NDArray[Any]) -> NDArray[np.float32]:
        """Take the next windows; return the clips that are complete with them, shape (clips, classes), in order."""
        if not len(self._clip) or len(self._counts) == len(self._clip):
            return np.asarray(logits, np.float32)
        clip = self._clip[self._next : self._next + len(logits)]
        self._next += len(logits)
        log_probabilities = torch.log_softmax(torch.as_tensor(logits, dtype=torch.float64), dim=1).numpy()
        held = 0 if self._open is None else 1
        if self._open is not None:
            # As one window more, so that the sum is the same to the bit wherever batches end.
            log_probabilities, clip = np.vstack([self._open, log_probabilities]), np.append(clip[0], clip)
        first = np.flatnonzero(np.diff(clip, prepend=-1))
        sums = np.logaddexp.reduceat(log_probabilities, first, axis=0)
        is_open = self._next < len(self._clip) and self._clip[self._next] == clip[-1]
        self._open = sums[-1:] if is_open else None
        whole = len(first) - is_open
        counts = self._counts[clip[first[:whole]]][:, None]
        alone = np.asarray(logits)[first[:whole] - held]
        return np.where(counts == 1, alone, sums[:whole] - np.log(counts)).astype(np.float32)
