"""Read-only memory maps of files, of which a bounded number is open at a time, and none holds a file descriptor."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

MOST_MAPS: Final = 1_024
"""Open maps of one `FileMaps`. Linux allows a process 65,530 (vm.max_map_count), and a training has several."""


class FileMaps:
    """Files of numbers, mapped when they are asked for; those that were not asked for longest are closed.

    `numpy.memmap` keeps a file descriptor for each map, and a process has about 1,000 of them. These keep none. What
    lies in the page cache stays there when a map is closed, so that mapping a file again costs microseconds.
    """

    def __init__(self, paths: Sequence[Path], dtype: str, most: int = MOST_MAPS) -> None:
        """Serve `paths` as arrays of `dtype`, at most `most` of them mapped at a time."""
        self._paths = list(paths)
        self._dtype = np.dtype(dtype)
        self._most = most
        self._map = lru_cache(most)(self._map_file)

    def __getitem__(self, index: int) -> NDArray[Any]:
        """Return all numbers of one file, shape (num_values,), without reading them."""
        return self._map(index)

    def __len__(self) -> int:
        return len(self._paths)

    def __getstate__(self) -> tuple[list[Path], str, int]:
        """Return what makes the same maps in another process; a map itself cannot be sent."""
        return self._paths, self._dtype.str, self._most

    def __setstate__(self, state: tuple[list[Path], str, int]) -> None:
        self.__init__(*state)  # type: ignore[misc]

    def _map_file(self, index: int) -> NDArray[Any]:
        with pa.memory_map(str(self._paths[index])) as file:  # the buffer outlives the file, as a map does
            return np.frombuffer(file.read_buffer(), self._dtype)
