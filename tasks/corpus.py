"""Collect the usable clips, and quarantine the others."""

from __future__ import annotations

import logging
from pathlib import Path

from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from audiocls import waveforms
from audiocls.stopwatch import timed

logger = logging.getLogger("audiocls.waveforms.corpus")

# Long tables are unusable in a browser; the full table is in MLflow and in the workspace.
_SHOWN_ROWS = 100


@task(cache_policy=NO_CACHE)
@timed
def collect_corpus(manifest: Path, plan: waveforms.StorePlan, workspace: Path) -> waveforms.Corpus:
    """Join the manifest with the store; show the quarantine in Prefect."""
    collected = waveforms.collect_corpus(manifest, plan, workspace)
    summary = waveforms.quarantine_summary(collected)
    if summary:
        logger.warning(summary)
        create_table_artifact(waveforms.quarantined(collected, _SHOWN_ROWS), key="quarantine", description=summary)
    lost = waveforms.lost_summary(waveforms.read_counts(collected.counts))
    if lost:
        logger.warning(lost)
    return collected


@task(cache_policy=NO_CACHE)
def check_quarantine(collected: waveforms.Corpus, max_bad_fraction: float) -> None:
    """Stop the run if too many clips are unusable."""
    waveforms.check_quarantine(collected, max_bad_fraction)


@task(cache_policy=NO_CACHE)
def check_lost_classes(collected: waveforms.Corpus, *, allow: bool) -> None:
    """Stop the run if a listed class has no usable clips."""
    waveforms.check_lost_classes(collected, allow=allow)
