"""Draws windows of the training files in each epoch. A draw depends only on the run's seed and the epoch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from audiocls.balance.draws import EpochSampler

_STREAM: Final = 3  # so that windows are drawn from another stream than the files of EpochSampler


class WindowSampler(Sampler[int]):
    """Draws windows of each training file, in random order.

    Files are counted as without windows: each is drawn once per epoch, or as often as a balance method draws it. Each
    draw of a file gives up to `per_epoch` of its windows without replacement. A copy of a file, which a method that
    oversamples draws, takes the windows that follow in the file's random order.
    """

    def __init__(
        self,
        clip: NDArray[np.int64],
        seed: int,
        *,
        per_epoch: int | None,
        files: EpochSampler | None = None,
    ) -> None:
        """Draw from windows.

        Args:
            clip: File of each window, ascending from 0 without gaps, shape (num_windows,).
            seed: The run's seed.
            per_epoch: Windows of a file in a draw; None: all of them.
            files: Draws the files; None: each once.
        """
        self._clip, self._seed, self._epoch, self._files = clip, seed, 0, files
        self._counts = np.bincount(clip)
        self._first = np.cumsum(self._counts) - self._counts
        self._taken = self._counts if per_epoch is None else np.minimum(self._counts, per_epoch)
        self._length = len(self._draw())

    def __len__(self) -> int:
        """Return the windows of an epoch.

        Trainer plans all epochs by the first one. If a balance method draws files with fewer or more windows in another
        epoch, that epoch is cut, or filled with more copies.
        """
        return self._length

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch to draw next, from 0."""
        self._epoch = epoch
        if self._files is not None:
            self._files.set_epoch(epoch)

    def __iter__(self) -> Iterator[int]:
        """Yield `position + copy * number of windows`, as `EpochSampler` does for files."""
        drawn = self._draw()
        missing = self._length - len(drawn)
        if missing > 0:
            more = np.resize(drawn, missing) + (drawn.max() // len(self._clip) + 1) * len(self._clip)
            drawn = np.concatenate([drawn, more])
        return iter(drawn[: self._length].tolist())

    def _draw(self) -> NDArray[np.int64]:
        rng = np.random.default_rng([self._seed, self._epoch, _STREAM])
        # Windows are already sorted by file; within a file they get a random order.
        order = np.lexsort((rng.random(len(self._clip)), self._clip))
        drawn = np.arange(len(self._counts)) if self._files is None else np.array(list(self._files), np.int64)
        copy, file = np.divmod(drawn, len(self._counts))
        taken = self._taken[file]
        place = np.arange(taken.sum()) - np.repeat(np.cumsum(taken) - taken, taken)
        copy, file = np.repeat(copy, taken), np.repeat(file, taken)
        within = (copy * self._taken[file] + place) % self._counts[file]
        return rng.permutation(order[self._first[file] + within] + copy * len(self._clip))
