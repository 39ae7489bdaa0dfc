"""Score the trained model."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from audiocls import evaluation
from audiocls.splits import PreparedData
from audiocls.stopwatch import timed
from audiocls.tracking import TrackedRun
from audiocls.training import TrainedModel


@task(cache_policy=NO_CACHE)
@timed
def evaluate(model: TrainedModel, data: PreparedData, run: TrackedRun) -> evaluation.Evaluation:
    """Score the saved model on validation and, once, on test."""
    return evaluation.evaluate(model.folder, data, run.folder / "evaluation")
