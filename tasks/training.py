"""Fit a model."""

from __future__ import annotations

from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from audiocls import balance, tracking, training
from audiocls.params import RunParams
from audiocls.stopwatch import timed


# No retries: a fit that failed would fail again, hours later.
@task(cache_policy=NO_CACHE)
@timed
def fit(
    split_clips: Path,
    balanced: balance.Balanced,
    store: Path,
    params: RunParams,
    run: tracking.TrackedRun,
    features: Path | None,
) -> training.TrainedModel:
    """Train, and log metrics to the run as they are measured."""

    def log(metrics: dict[str, float], step: int) -> None:
        tracking.log_metrics(run, metrics, step)

    return training.fit(split_clips, balanced, store, params, run.folder, log, features)
