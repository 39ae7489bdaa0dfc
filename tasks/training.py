"""Fit a model."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from audiocls import balance, evaluation, tracking, training
from audiocls.splits import PreparedData
from audiocls.stopwatch import timed


# No retries: a failed fit would fail again, hours later.
@task(cache_policy=NO_CACHE)
@timed
def fit(data: PreparedData, balanced: balance.Balanced, run: tracking.TrackedRun) -> training.TrainedModel:
    """Train, and log metrics to the run as they are measured, with those of the machine."""
    machine = tracking.SystemMetrics()

    def log(metrics: dict[str, float], step: int) -> None:
        found = evaluation.headline_first(metrics, data.params.best_metric)
        # Those of validation follow from the evaluation; logged here, they would be above the scores of test.
        shown = {name: value for name, value in found.items() if not name.startswith("details/validation/")}
        tracking.log_metrics(run, shown | machine.measure(), step)

    return training.fit(data, balanced, run.folder, log)
