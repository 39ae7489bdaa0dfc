"""Compare balance methods: `audiocls balance PARAMS.yaml [key.path=value ...]`."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from flows.cli import main

if __name__ == "__main__":  # before Prefect is imported, so that mistakes are reported quickly
    sys.exit(main(["balance", *sys.argv[1:]]))

from prefect import flow

from audiocls import tracking
from audiocls.params_file import list_candidates, load_params
from audiocls.stopwatch import stopwatch
from flows.preparation import prepare_data
from flows.runs import name_run, report_unsent
from tasks.comparison import compare, train_candidates
from tasks.features import cache_features
from tasks.tracking import log_comparison, open_run, publish_comparison


@dataclass(frozen=True, slots=True)
class BalanceResult:
    """The result of `balance-flow`, which the command line prints as JSON."""

    run_id: str
    method: str
    verdict: str
    params_file: str
    metrics: dict[str, float]
    seconds: dict[str, float]
    unsent: tracking.Unsent | None
    summary: str


@flow(name="balance-flow", flow_run_name=name_run)
def balance_flow(params_file: str, overrides: tuple[str, ...] = ()) -> BalanceResult:
    """Compare balance methods on one corpus, one split and the same seeds, and recommend one."""
    params = load_params(params_file, overrides)
    list_candidates(params)  # a mistake is told before hours of preparation
    with stopwatch() as seconds, open_run(params) as run:
        corpus, data = prepare_data(params, run)
        data = cache_features(data)
        comparison = compare(train_candidates(data, run), data, run)
        log_comparison(run, comparison, data.params)
        summary = publish_comparison(run, comparison, corpus)
    unsent = tracking.unsent(run)
    return BalanceResult(
        run.run_id,
        comparison.method,
        comparison.verdict,
        str(comparison.params_file),
        comparison.metrics,
        seconds,
        unsent,
        report_unsent(unsent, params_file, overrides) + summary,
    )
