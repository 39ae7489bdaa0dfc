"""Where mapped tasks run: in threads or processes of this machine, or on a Dask or Ray cluster."""

from __future__ import annotations

import os
from typing import Any

from prefect.task_runners import ProcessPoolTaskRunner, ThreadPoolTaskRunner

from audiocls.params import RunnerParams


def make_runner(params: RunnerParams) -> Any:  # Any, as Prefect's own types of runners do not fit each other
    """Return Prefect's task runner, not started yet."""
    # As many shards at a time as there are cores: Prefect's default would start all of them, and hold all in memory.
    workers = params.workers or os.cpu_count() or 1
    match params.kind:
        case "thread":
            return ThreadPoolTaskRunner(max_workers=workers)
        case "process":
            return ProcessPoolTaskRunner(max_workers=workers)
        case "dask":
            return _dask_runner(params.address, workers)
        case "ray":
            return _ray_runner(params.address, workers)


def _dask_runner(address: str | None, workers: int) -> Any:
    from prefect_dask import DaskTaskRunner

    if address is not None:
        return DaskTaskRunner(address=address)
    cluster = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": None}
    return DaskTaskRunner(cluster_class="distributed.LocalCluster", cluster_kwargs=cluster)


def _ray_runner(address: str | None, workers: int) -> Any:
    # Nothing is sent to anybody.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    from prefect_ray import RayTaskRunner

    if address is not None:
        return RayTaskRunner(address=address)
    return RayTaskRunner(init_kwargs={"num_cpus": workers, "include_dashboard": False, "configure_logging": False})
