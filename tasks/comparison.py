"""Compare balance methods."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from audiocls import comparison
from audiocls.comparison_report import Comparison
from audiocls.params import RunParams
from audiocls.stopwatch import timed
from audiocls.tracking import TrackedRun


@timed
def train_contenders(
    split_clips: Path, store: Path, params: RunParams, run: TrackedRun, features: Path | None
) -> list[comparison.Training]:
    """Train what has to be trained, one after another: two at a time would share the cores or the GPU."""
    planned = comparison.plan_trainings(params, run.folder)
    return [train_contender(training, split_clips, store, params, features) for training in planned]


# No retries: a fit that failed would fail again, hours later.
@task(cache_policy=NO_CACHE, task_run_name="train {training.name}")
def train_contender(
    training: comparison.Training, split_clips: Path, store: Path, params: RunParams, features: Path | None
) -> comparison.Training:
    """Train one model."""
    return comparison.train_contender(training, split_clips, store, params, features)


@task(cache_policy=NO_CACHE)
@timed
def compare(
    trained: Sequence[comparison.Training],
    split_clips: Path,
    store: Path,
    params: RunParams,
    run: TrackedRun,
    features: Path | None,
) -> Comparison:
    """Score every method and seed, and say which to take."""
    return comparison.compare(trained, split_clips, store, params, run.folder, features)
