"""Task runners of mapped tasks: threads or processes of this machine, or a Dask or Ray cluster."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

from prefect.client.orchestration import get_client
from prefect.futures import as_completed
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.task_runners import ProcessPoolTaskRunner, ThreadPoolTaskRunner
from prefect.tasks import Task

from audiocls.inference import PredictParams
from audiocls.params import AudioParams, RunnerParams
from audiocls.progress import progress_bar
from tasks.orphans import end_with_the_parent


class Shard(Protocol):
    """The clips of a plan, from row `start` up to `stop`, that one task writes."""

    @property
    def start(self) -> int:
        """The first row."""

    @property
    def stop(self) -> int:
        """One past the last row."""


def run_shards(
    write: Task[..., int],
    shards: Sequence[Shard],
    params: AudioParams | PredictParams,
    runner: RunnerParams,
    doing: str,
) -> None:
    """Run `write(shard=..., params=...)` for every shard, with a progress bar of clips labeled `doing`."""
    if not shards:
        return
    new = sum(shard.stop - shard.start for shard in shards)
    # Not the flow's runner: the kind is known only after the flow has read its params.
    with _one_server(runner), make_runner(runner) as started, progress_bar(doing, new) as bar:
        futures = [started.submit(write, {"shard": shard, "params": params}) for shard in shards]
        for future in as_completed(futures):
            bar.advance(future.result())


def _one_server(params: RunnerParams) -> AbstractContextManager[Any]:
    """Set the flow's server for processes of this machine, which otherwise each start a temporary one."""
    if params.kind == "thread" or params.address is not None:
        return nullcontext()
    url = str(get_client(sync_client=True).api_url).rstrip("/")
    return temporary_settings({PREFECT_API_URL: url})


def make_runner(params: RunnerParams) -> Any:  # Any: the types of Prefect's runners are incompatible
    """Return Prefect's task runner, not yet started."""
    # One shard per core: Prefect's default would start all of them, and hold all in memory.
    workers = params.workers or os.cpu_count() or 1
    match params.kind:
        case "thread":
            return ThreadPoolTaskRunner(max_workers=workers)
        case "process":
            return ProcessPoolTaskRunner(max_workers=workers, initializer=end_with_the_parent)
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
    # No telemetry.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    from prefect_ray import RayTaskRunner

    if address is not None:
        return RayTaskRunner(address=address)
    return RayTaskRunner(init_kwargs={"num_cpus": workers, "include_dashboard": False, "configure_logging": False})
