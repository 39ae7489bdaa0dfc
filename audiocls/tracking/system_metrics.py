"""What training takes of the machine, under MLflow's names of system metrics."""

from __future__ import annotations

import time
from typing import Any, Final

from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor

PREFIX: Final = "system/"
_PAUSE_SECONDS: Final = 5.0


class SystemMetrics:
    """Measures the machine when metrics are logged, at most every few seconds.

    MLflow's own monitor has a thread that talks to the server by itself. It would stop at the first lost connection,
    and would not write what it has to the outbox. Disks and networks are left out: MLflow's page of a run lists system
    metrics before all others.
    """

    def __init__(self) -> None:
        self._monitors: list[Any] = [CPUMonitor(), *_gpus()]
        self._next = 0.0

    def measure(self) -> dict[str, float]:
        """Return utilization since the last measurement, and memory now; nothing if that was only seconds ago."""
        if time.monotonic() < self._next:
            return {}
        self._next = time.monotonic() + _PAUSE_SECONDS
        found: dict[str, float] = {}
        for monitor in self._monitors:
            monitor.collect_metrics()
            found |= {f"{PREFIX}{name}": float(value) for name, value in monitor.aggregate_metrics().items()}
            monitor.clear_metrics()
        return found


def _gpus() -> list[Any]:
    try:
        return [GPUMonitor()]
    except (ImportError, RuntimeError):  # no pynvml, or no GPU
        return []
