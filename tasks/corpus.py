"""Gather the usable clips, and put the others into quarantine."""

from __future__ import annotations

import logging
from pathlib import Path

from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from audiocls import corpus
from audiocls.counts import lost_summary, read_counts
from audiocls.stopwatch import timed
from audiocls.waveforms import StorePlan

logger = logging.getLogger("audiocls.corpus")

# A table of thousands of rows helps nobody in a browser; the whole of it is in MLflow and in the workspace.
_SHOWN_ROWS = 100


@task(cache_policy=NO_CACHE)
@timed
def collect_corpus(manifest: Path, plan: StorePlan, workspace: Path) -> corpus.Corpus:
    """Join the manifest with the store; show the quarantine in Prefect."""
    collected = corpus.collect_corpus(manifest, plan, workspace)
    summary = corpus.quarantine_summary(collected)
    if summary:
        logger.warning(summary)
        create_table_artifact(corpus.quarantined(collected, _SHOWN_ROWS), key="quarantine", description=summary)
    lost = lost_summary(read_counts(collected.counts))
    if lost:
        logger.warning(lost)
    return collected


@task(cache_policy=NO_CACHE)
def check_quarantine(collected: corpus.Corpus, max_bad_fraction: float) -> None:
    """Stop the run where too many clips cannot be used."""
    corpus.check_quarantine(collected, max_bad_fraction)


@task(cache_policy=NO_CACHE)
def check_lost_classes(collected: corpus.Corpus, *, allow: bool) -> None:
    """Stop the run where a class that was listed has no usable clip left."""
    corpus.check_lost_classes(collected, allow=allow)
