"""Which balance method to take: `audiocls balance PARAMS.yaml [key.path=value ...]`."""

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
from tasks.comparison import compare, train_contenders
from tasks.corpus import check_lost_classes, check_quarantine, collect_corpus
from tasks.features import cache_features
from tasks.manifest import ingest
from tasks.near_duplicates import find_near_duplicates
from tasks.preflight import check_run
from tasks.splits import assign_splits
from tasks.tracking import log_audit, log_comparison, log_corpus, log_counts, log_splits, open_run, publish_comparison
from tasks.waveforms import cache_waveforms


@dataclass(frozen=True, slots=True)
class BalanceResult:
    """What `balance-flow` returns; the command line prints it as JSON."""

    run_id: str
    method: str
    verdict: str
    params_file: str
    metrics: dict[str, float]
    seconds: dict[str, float]
    summary: str


@flow(name="balance-flow", flow_run_name=name_run)
def balance_flow(params_file: str, overrides: tuple[str, ...] = ()) -> BalanceResult:
    """Compare balance methods on one corpus, one split and the same seeds, and say which to take."""
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
        features = cache_features(splits, corpus.store, params)
        trained = train_contenders(splits, corpus.store, params, run, features)
        comparison = compare(trained, splits, corpus.store, params, run, features)
        log_comparison(run, comparison, params)
        summary = publish_comparison(run, comparison, corpus)
    return BalanceResult(
        run.run_id,
        comparison.method,
        comparison.verdict,
        str(comparison.params_file),
        comparison.metrics,
        seconds,
        summary,
    )


if __name__ == "__main__":
    sys.exit(main(["balance", *sys.argv[1:]]))
