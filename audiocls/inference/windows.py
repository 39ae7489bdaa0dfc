"""Windows of a stream of samples: the same ones whatever the sizes of its blocks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Window(NamedTuple):
    """A stretch of a recording that the model scores."""

    first_sample: int
    samples: NDArray[np.float32]


class WindowCutter:
    """Cuts a stream into windows that start every `hop` samples; the last one ends where the stream does.

    A stream no longer than a window is its one window, in its own length.
    """

    def __init__(self, length: int, hop: int) -> None:
        """Cut windows of `length` samples every `hop` samples.

        Raises:
            ValueError: Samples between windows would be in none of them.
        """
        if not 0 < hop <= length:
            raise ValueError(f"a hop of {hop} samples must be from 1 to the window's {length}")
        self._length, self._hop = length, hop
        self._buffer = np.empty(2 * length, np.float32)
        self._held = 0  # samples in the buffer
        self._start = 0  # position of the buffer's first sample in the stream
        self._next = 0  # first sample of the next window

    @property
    def received(self) -> int:
        """Samples taken so far."""
        return self._start + self._held

    def add(self, block: NDArray[np.float32]) -> Iterator[Window]:
        """Take samples, shape (num_samples,); yield the windows that are complete with them."""
        for first in range(0, len(block), self._length):
            part = block[first : first + self._length]
            if self._held + len(part) > len(self._buffer):
                self._forget()
            self._buffer[self._held : self._held + len(part)] = part
            self._held += len(part)
            while self._next + self._length <= self.received:
                yield self._cut(self._next)
                self._next += self._hop

    def _forget(self) -> None:
        """Keep the last window's length of samples, which the last window may need."""
        keep = min(self._next, self.received - self._length) - self._start
        self._buffer[: self._held - keep] = self._buffer[keep : self._held].copy()
        self._held -= keep
        self._start += keep

    def finish(self) -> Iterator[Window]:
        """Yield the last window, unless the one before it ends where the stream does."""
        if self.received == 0:
            return
        if self.received < self._length:
            yield Window(0, self._buffer[: self._held].copy())
        elif self._next - self._hop + self._length < self.received:
            yield self._cut(self.received - self._length)

    def _cut(self, first: int) -> Window:
        start = first - self._start
        return Window(first, self._buffer[start : start + self._length].copy())
