"""Balance the classes of the training split, and the head of the trained model."""

from __future__ import annotations

from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from audiocls import balance, evaluation, heads, tracking, training
from audiocls.params import BalanceParams
from audiocls.splits import PreparedData
from audiocls.stopwatch import timed


@task(cache_policy=NO_CACHE)
@timed
def balance_classes(split_clips: Path, params: BalanceParams, seed: int, workspace: Path) -> balance.Balanced:
    """Repeat, drop or weight training clips, as the method says."""
    return balance.balance(split_clips, params, seed, workspace)


@task(cache_policy=NO_CACHE)
@timed
def balance_head(
    model: training.TrainedModel, balanced: balance.Balanced, data: PreparedData, run: tracking.TrackedRun
) -> balance.Balanced:
    """Retrain or shift the head if the method requires it, and log the results."""
    done = heads.balance_head(model.folder, balanced, data, run.folder)
    if done.files:
        tracking.log_artifacts(run, done.files, "data/balance")
        tracking.log_metrics(run, evaluation.headline_first(done.metrics))
    return done.balanced
