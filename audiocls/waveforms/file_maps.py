"""Read-only memory maps of files. A bounded number is open at a time, and none holds a file descriptor."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

MOST_MAPS: Final = 1_024
"""Open maps per `FileMaps`. Linux allows a process 65,530 (vm.max_map_count), and training uses several `FileMaps`."""


class FileMaps:
    """Files of numbers, mapped on access; the least recently used maps are closed.

    `numpy.memmap` keeps a file descriptor for each map, and a process is limited to about 1,000. These maps keep none.
    A closed map's file stays in the page cache, so mapping it again takes microseconds.
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
        """Return the arguments that recreate the maps in another process; a map itself cannot be pickled."""
        return self._paths, self._dtype.str, self._most

    def __setstate__(self, state: tuple[list[Path], str, int]) -> None:
        self.__init__(*state)  # type: ignore[misc]

    def _map_file(self, index: int) -> NDArray[Any]:
        with pa.memory_map(str(self._paths[index])) as file:  # the buffer outlives the file, as a map does
            return np.frombuffer(file.read_buffer(), self._dtype)
