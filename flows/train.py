"""Turn recordings and labels into a tracked model: `audiocls train PARAMS.yaml [key.path=value ...]`."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from flows.cli import main

if __name__ == "__main__":  # before Prefect is imported, so that mistakes are reported quickly
    sys.exit(main(["train", *sys.argv[1:]]))

from prefect import flow

from audiocls import audit, tracking
from audiocls.params_file import load_params
from audiocls.stopwatch import stopwatch
from flows.preparation import prepare_data
from flows.runs import name_run, report_unsent
from tasks.balance import balance_classes, balance_head
from tasks.diagnosis import diagnose
from tasks.evaluation import evaluate, write_page
from tasks.features import cache_features
from tasks.tracking import log_augmentation, log_balance, log_diagnosis, log_results, open_run, publish_summary
from tasks.training import fit


@dataclass(frozen=True, slots=True)
class TrainResult:
    """The result of `train-flow`, which the command line prints as JSON."""

    run_id: str
    model: str
    metrics: dict[str, float]
    verdict: str
    confounds: tuple[str, ...]
    seconds: dict[str, float]
    unsent: tracking.Unsent | None
    summary: str


@flow(name="train-flow", flow_run_name=name_run)
def train_flow(params_file: str, overrides: tuple[str, ...] = ()) -> TrainResult:
    """Run every stage once, in order, and return the tracked test metrics."""
    params = load_params(params_file, overrides)
    with stopwatch() as seconds, open_run(params) as run:
        corpus, data = prepare_data(params, run)
        # Balance after the split and on training clips only: a copy of a test clip in training
        # would inflate every metric below.
        balanced = balance_classes(data.split_clips, params.balance, params.seed, params.workspace)
        log_balance(run, balanced)
        log_augmentation(run, data)
        data = cache_features(data)
        model = fit(data, balanced, run)
        trained_on = balance_head(model, balanced, data, run)
        if trained_on != balanced:
            log_balance(run, trained_on)
        evaluation = evaluate(model, data, run)
        diagnosis = diagnose(model, data, run)
        page = write_page(evaluation, data, run, diagnosis.findings)
        log_results(run, model, evaluation, params.best_metric)
        log_diagnosis(run, diagnosis)
        summary = publish_summary(run, corpus, data.split_clips, trained_on, model, evaluation, page, diagnosis)
    unsent = tracking.unsent(run)
    summary = report_unsent(unsent, params_file, overrides) + summary
    doubts = audit.read_doubts(run.folder / "data" / "audit.json")
    return TrainResult(
        run.run_id,
        str(model.folder),
        evaluation.metrics,
        doubts.verdict,
        doubts.confounds,
        seconds,
        unsent,
        summary,
    )
