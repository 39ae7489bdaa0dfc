"""Embedded clips of one split, and their logits from a head."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audiocls.batches import average_windows
from audiocls.heads.linear import LinearHead

Logits = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Clips:
    """Embedded clips; those of validation and test may have several windows."""

    embeddings: NDArray[np.float32]  # (num_windows, dim)
    targets: NDArray[np.int64]  # (num_clips,), class indices
    groups: NDArray[np.object_]  # (num_clips,)
    clip: NDArray[np.int64] | None = None  # (num_windows,), clip of each window, ascending; None: one per clip

    def logits(self, head: LinearHead) -> Logits:
        """Return a head's logits of the clips, (num_clips, num_classes)."""
        return average_windows(head.logits(self.embeddings), self.of_clip)

    @property
    def of_clip(self) -> NDArray[np.int64]:
        """The clip of each window, (num_windows,)."""
        return np.arange(len(self.targets)) if self.clip is None else self.clip

    def some(self, chosen: NDArray[np.bool_]) -> Clips:
        """Return the clips that the mask `chosen`, (num_clips,), selects."""
        if self.clip is None:
            return Clips(self.embeddings[chosen], self.targets[chosen], self.groups[chosen])
        windows = chosen[self.clip]
        renumbered = np.cumsum(chosen) - 1
        return Clips(
            self.embeddings[windows], self.targets[chosen], self.groups[chosen], renumbered[self.clip[windows]]
        )
