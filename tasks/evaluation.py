"""Score the trained model."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from audiocls import evaluation, tracking, training
from audiocls.splits import PreparedData
from audiocls.stopwatch import timed


@task(cache_policy=NO_CACHE)
@timed
def evaluate(model: training.TrainedModel, data: PreparedData, run: tracking.TrackedRun) -> evaluation.Evaluation:
    """Score the saved model on validation and, once, on test."""
    return evaluation.evaluate(model.folder, data, run.folder / "evaluation")
