"""How batches come to the model: by which processes, and how early, chosen by its device."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Final

MOST_WORKERS: Final = 4


@dataclass(frozen=True, slots=True)
class Loading:
    """What a data loader is told."""

    workers: int  # processes that read beside the training; 0: it reads itself, between two steps
    prefetch: int | None  # batches that each of them reads ahead
    pinned: bool  # whether batches lie where a GPU copies them from while it computes

    def trainer_options(self) -> dict[str, Any]:
        """Return Trainer's arguments."""
        return {
            "dataloader_num_workers": self.workers,
            "dataloader_prefetch_factor": self.prefetch,
            "dataloader_pin_memory": self.pinned,
            # Workers are begun anew in each pass: those of the last one would go on with its cuts.
            "dataloader_persistent_workers": False,
            # Without a wait for each copy, which pinned memory alone allows.
            "accelerator_config": {"non_blocking": self.pinned},
        }

    def loader_options(self) -> dict[str, Any]:
        """Return the arguments of torch's data loader."""
        return {"num_workers": self.workers, "prefetch_factor": self.prefetch, "pin_memory": self.pinned}


def choose_loading(device: str, cores: int | None = None) -> Loading:
    """Choose for a model on "cpu" or "cuda"; `cores` are those of this process, where it is not said."""
    if device == "cpu":
        # A batch is read from the mapped store in a hundredth of a step. A worker would take that much and more from
        # the cores that compute, and hand its batches over through shared memory.
        return Loading(workers=0, prefetch=None, pinned=False)
    # A GPU's steps are short and cost the processor little: let others read meanwhile, and keep a core for launching
    # kernels. Two batches of each worker are enough to bridge a slow one, and bound the memory.
    found = (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()) or 1
    workers = min(MOST_WORKERS, (found if cores is None else cores) - 1)
    return Loading(workers=workers, prefetch=2 if workers else None, pinned=True)
