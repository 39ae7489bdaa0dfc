"""Score the trained model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

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


@task(cache_policy=NO_CACHE)
@timed
def write_page(
    evaluated: evaluation.Evaluation,
    data: PreparedData,
    run: tracking.TrackedRun,
    findings: Sequence[evaluation.Finding] = (),
) -> Path:
    """Write the report page of the evaluation, with the audit's verdict beside the score and findings on top."""
    params = data.params
    evaluation.write_learning_curves(run.folder / "checkpoints", evaluated.folder)
    facts = {
        "run": run.run_id,
        "model": params.model.family,
        "balance": params.balance.method,
        "seed": str(params.seed),
    }
    context = evaluation.PageContext(params.experiment, facts, run.folder / "data" / "audit.json", findings)
    return evaluation.write_page(evaluated, data, context)
