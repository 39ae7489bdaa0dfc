"""Fit a model."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from audiocls import balance, tracking, training
from audiocls.splits import PreparedData
from audiocls.stopwatch import timed


# No retries: a failed fit would fail again, hours later.
@task(cache_policy=NO_CACHE)
@timed
def fit(data: PreparedData, balanced: balance.Balanced, run: tracking.TrackedRun) -> training.TrainedModel:
    """Train, and log metrics to the run as they are measured."""

    def log(metrics: dict[str, float], step: int) -> None:
        tracking.log_metrics(run, metrics, step)

    return training.fit(data, balanced, run.folder, log)
