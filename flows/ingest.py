"""Turn recordings and labels into an audited corpus: `audiocls ingest PARAMS.yaml [key.path=value ...]`."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from flows.cli import main

if __name__ == "__main__":  # before Prefect is imported, so that mistakes are reported quickly
    sys.exit(main(["ingest", *sys.argv[1:]]))

from prefect import flow

from audiocls import tracking
from audiocls.params_file import load_params
from audiocls.stopwatch import stopwatch
from flows.preparation import check_corpus, gather_corpus
from flows.runs import name_run, report_unsent
from tasks.audit import audit_corpus
from tasks.near_duplicates import find_near_duplicates
from tasks.tracking import log_audit, open_run


@dataclass(frozen=True, slots=True)
class IngestResult:
    """The result of `ingest-flow`, which the command line prints as JSON."""

    run_id: str
    report: str
    clips: int
    quarantined: int
    seconds: dict[str, float]
    unsent: tracking.Unsent | None
    summary: str


@flow(name="ingest-flow", flow_run_name=name_run)
def ingest_flow(params_file: str, overrides: tuple[str, ...] = ()) -> IngestResult:
    """Decode every recording and audit the corpus, without training."""
    params = load_params(params_file, overrides)
    with stopwatch() as seconds, open_run(params) as run:
        corpus = gather_corpus(params, run)
        report = audit_corpus(corpus, find_near_duplicates(corpus), run.folder / "data")
        summary = log_audit(run, report, describe=True)
        # After the audit, which shows what is wrong with the clips.
        check_corpus(corpus, params)
    unsent = tracking.unsent(run)
    summary = report_unsent(unsent, params_file, overrides) + summary
    page, clips, quarantined = str(report.html), corpus.num_clips, corpus.num_quarantined
    return IngestResult(run.run_id, page, clips, quarantined, seconds, unsent, summary)
