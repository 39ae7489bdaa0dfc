"""Score the trained model."""

from __future__ import annotations

from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from audiocls import evaluation, tracking, training
from audiocls.params import RunParams
from audiocls.stopwatch import timed


@task(cache_policy=NO_CACHE)
@timed
def evaluate(
    model: training.TrainedModel,
    split_clips: Path,
    store: Path,
    params: RunParams,
    run: tracking.TrackedRun,
    features: Path | None,
) -> evaluation.Evaluation:
    """Score the saved model on validation and, once, on test."""
    return evaluation.evaluate(model.folder, split_clips, store, params, run.folder / "evaluation", features)
