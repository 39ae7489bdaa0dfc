"""From recordings and labels to a tracked model: `audiocls train PARAMS.yaml [key.path=value ...]`."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from prefect import flow

from audiocls.params_file import load_params
from audiocls.stopwatch import stopwatch
from flows.cli import main
from flows.runs import name_run
from tasks.audit import audit_corpus
from tasks.augmentation import check_augmentation
from tasks.balance import balance_classes, balance_head
from tasks.corpus import check_lost_classes, check_quarantine, collect_corpus
from tasks.evaluation import evaluate
from tasks.features import cache_features
from tasks.manifest import ingest
from tasks.near_duplicates import find_near_duplicates
from tasks.preflight import check_run
from tasks.splits import assign_splits
from tasks.tracking import (
    log_audit,
    log_augmentation,
    log_balance,
    log_corpus,
    log_counts,
    log_results,
    log_splits,
    open_run,
    publish_summary,
)
from tasks.training import fit
from tasks.waveforms import cache_waveforms


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What `train-flow` returns; the command line prints it as JSON."""

    run_id: str
    model: str
    metrics: dict[str, float]
    seconds: dict[str, float]
    summary: str


@flow(name="train-flow", flow_run_name=name_run)
def train_flow(params_file: str, overrides: tuple[str, ...] = ()) -> TrainResult:
    """Run every stage once, in order, and return the tracked test metrics."""
    params = load_params(params_file, overrides)
    with stopwatch() as seconds, open_run(params) as run:
        check_run(params)
        manifest = ingest(params.data, params.workspace)
        filled = cache_waveforms(manifest, params.audio, params.workspace, params.runner)
        corpus = collect_corpus(manifest, filled, params.workspace)
        log_corpus(run, corpus)
        check_quarantine(corpus, params.data.max_bad_fraction)
        check_lost_classes(corpus, allow=params.data.allow_lost_classes)
        near_duplicates = find_near_duplicates(corpus)
        log_audit(run, audit_corpus(corpus, near_duplicates, run.folder / "data"))
        splits = assign_splits(corpus, near_duplicates, params)
        log_counts(run, corpus, splits)
        log_splits(run, splits)
        params = check_augmentation(splits, corpus.store, params)
        # Balance after the split and on training clips only: a copy of a test clip in training
        # would inflate every metric below.
        balanced = balance_classes(splits, params.balance, params.seed, params.workspace)
        log_balance(run, balanced)
        log_augmentation(run, splits, corpus.store, params)
        features = cache_features(splits, corpus.store, params)
        model = fit(splits, balanced, corpus.store, params, run, features)
        trained_on = balance_head(model, balanced, splits, corpus.store, params, run, features)
        if trained_on != balanced:
            log_balance(run, trained_on)
        evaluation = evaluate(model, splits, corpus.store, params, run, features)
        log_results(run, model, evaluation)
        summary = publish_summary(run, corpus, splits, trained_on, model, evaluation)
    return TrainResult(run.run_id, str(model.folder), evaluation.metrics, seconds, summary)


if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
