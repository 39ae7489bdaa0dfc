"""Measure wall-clock time, CPU time and GPU utilization."""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from transformers import TrainerCallback


class Cost(NamedTuple):
    """Seconds by the clock, and of the processors, worker processes that have ended included."""

    wall: float
    cpu: float


class Meter(TrainerCallback):  # type: ignore[misc]  # transformers has no types
    """Takes the time of the epochs of a Trainer, without the evaluation and the checkpoint that follow each."""

    def __init__(self) -> None:
        self.total = Cost(0.0, 0.0)
        self._began: Cost | None = None
        self._use = _GpuUse() if torch.cuda.is_available() else None

    @staticmethod
    def of(work: Callable[[], object]) -> Cost:
        """Return what some work costs."""
        start = _now()
        work()
        return _since(start)

    def start(self) -> None:
        """Begin to count."""
        self._began = _now()
        if self._use:
            self._use.start()

    def stop(self) -> None:
        """Count what was since `start`."""
        assert self._began is not None
        cost = _since(self._began)
        self.total = Cost(self.total.wall + cost.wall, self.total.cpu + cost.cpu)
        if self._use:
            self._use.stop()

    def gpu_use(self, name: str) -> dict[str, Any]:
        """Return utilisation in percent and peak memory in MB, where there is a GPU."""
        if self._use is None:
            return {}
        return {f"{name}_gpu_percent": self._use.percent(), f"{name}_gpu_mb": self._use.peak_mb}

    def on_epoch_begin(self, *_: Any, **__: Any) -> None:
        """Begin with the epoch's first batch."""
        self.start()

    def on_epoch_end(self, *_: Any, **__: Any) -> None:
        """Stop before the evaluation."""
        self.stop()


class _GpuUse:
    """Asks the driver ten times a second how busy the GPU is."""

    def __init__(self) -> None:
        self.peak_mb = 0
        self._samples: list[int] = []
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        torch.cuda.reset_peak_memory_stats()
        self._ended.clear()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        assert self._thread is not None
        self._ended.set()
        self._thread.join()
        self.peak_mb = round(torch.cuda.max_memory_allocated() / 1e6)

    def percent(self) -> int | None:
        """Return the mean; None where the driver cannot be asked."""
        return round(statistics.mean(self._samples)) if self._samples else None

    def _sample(self) -> None:
        while not self._ended.wait(0.1):
            try:
                self._samples.append(torch.cuda.utilization())
            except (ImportError, RuntimeError):  # no pynvml here
                return


def _now() -> Cost:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    times = os.times()
    return Cost(time.perf_counter(), times.user + times.system + times.children_user + times.children_system)


def _since(start: Cost) -> Cost:
    now = _now()
    return Cost(now.wall - start.wall, now.cpu - start.cpu)
