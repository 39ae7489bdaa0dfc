"""Compare balance methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from audiocls import comparison, tracking
from audiocls.errors import BalanceError
from audiocls.params import RunParams
from audiocls.params_file import NONE
from audiocls.stopwatch import timed


@timed
def train_contenders(
    split_clips: Path, store: Path, params: RunParams, run: tracking.TrackedRun, features: Path | None
) -> tuple[list[comparison.Training], dict[str, str]]:
    """Train what has to be trained, one after another: two at a time would share the cores or the GPU.

    Returns:
        The trainings, and by name the methods that the class counts do not allow, with the reason: the others are
        compared without them.
    """
    trained: list[comparison.Training] = []
    refused: dict[str, str] = {}
    for training in comparison.plan_trainings(params, run.folder):
        name = training.contender.name
        if name in refused:
            continue
        try:
            trained.append(train_contender(training, split_clips, store, params, features))
        except BalanceError as error:
            if name == NONE or not training.contender.end_to_end:
                raise
            refused[name] = str(error)
    return [each for each in trained if each.contender.name not in refused], refused


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
    trained: tuple[Sequence[comparison.Training], Mapping[str, str]],
    split_clips: Path,
    store: Path,
    params: RunParams,
    run: tracking.TrackedRun,
    features: Path | None,
) -> comparison.Comparison:
    """Score every method and seed, and say which to take."""
    models, refused = trained
    return comparison.compare(models, split_clips, store, params, run.folder, features, refused)
