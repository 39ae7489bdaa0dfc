"""Audit the corpus before training."""

from __future__ import annotations

import logging
from pathlib import Path

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from audiocls import audit, splits, waveforms
from audiocls.stopwatch import timed

logger = logging.getLogger("audiocls.audit.report")


@task(cache_policy=NO_CACHE)
@timed
def audit_corpus(corpus: waveforms.Corpus, near_duplicates: Path, folder: Path) -> audit.AuditReport:
    """Write the audit's pages; show the verdict in Prefect, and in the log if there are warnings."""
    report = audit.write_audit(
        corpus, near_duplicates, folder, splits.wide_unit_findings(corpus.clips, near_duplicates)
    )
    if report.warns:
        logger.warning(report.line)
    create_markdown_artifact(key="corpus-audit", markdown=audit.audit_markdown(report))
    return report
