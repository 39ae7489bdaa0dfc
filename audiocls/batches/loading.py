"""DataLoader settings, chosen by the model's device."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Final

MOST_WORKERS: Final = 4


@dataclass(frozen=True, slots=True)
class Loading:
    """Settings of a DataLoader."""

    workers: int  # reader processes; 0: the training process reads between steps
    prefetch: int | None  # batches that each worker prefetches
    pinned: bool  # page-locked memory, which a GPU copies while it computes

    def trainer_options(self) -> dict[str, Any]:
        """Return the arguments for Trainer."""
        return {
            "dataloader_num_workers": self.workers,
            "dataloader_prefetch_factor": self.prefetch,
            "dataloader_pin_memory": self.pinned,
            # Restart workers in each epoch: persistent ones would reuse the cuts of the previous epoch.
            "dataloader_persistent_workers": False,
            # Asynchronous copies require pinned memory.
            "accelerator_config": {"non_blocking": self.pinned},
        }

    def loader_options(self) -> dict[str, Any]:
        """Return the arguments for torch's DataLoader."""
        return {"num_workers": self.workers, "prefetch_factor": self.prefetch, "pin_memory": self.pinned}


def choose_loading(device: str, cores: int | None = None) -> Loading:
    """Choose the settings for a model on "cpu" or "cuda"; `cores` defaults to those of this process."""
    if device == "cpu":
        # Reading a batch from the mapped store takes a hundredth of a step. A worker would take at least as much from
        # the cores that compute, and add copies through shared memory.
        return Loading(workers=0, prefetch=None, pinned=False)
    # GPU steps are short and use little CPU: workers read meanwhile, and one core is left to launch kernels. Two
    # batches per worker are enough to bridge a slow one, and bound the memory.
    found = (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()) or 1
    workers = min(MOST_WORKERS, (found if cores is None else cores) - 1)
    return Loading(workers=workers, prefetch=2 if workers else None, pinned=True)
