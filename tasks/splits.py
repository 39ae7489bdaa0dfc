"""Assign clips to training, validation and test."""

from __future__ import annotations

import logging
from pathlib import Path

from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from audiocls import splits, waveforms
from audiocls.params import RunParams
from audiocls.stopwatch import timed

logger = logging.getLogger("audiocls.splits.assignment")

# Long tables are unusable in a browser; the full table is in MLflow and in the workspace.
_SHOWN_ROWS = 100


@task(cache_policy=NO_CACHE)
@timed
def assign_splits(corpus: waveforms.Corpus, near_duplicates: Path, params: RunParams) -> Path:
    """Use or make the split, and check it; show dropped clips in Prefect; return the clips with their splits."""
    ledger = splits.ledger_of(params.experiment, params.split, params.seed, params.workspace)
    made = splits.assign_splits(corpus.clips, params.split, params.seed, params.workspace, ledger, near_duplicates)
    summary = splits.dropped_summary(made)
    if summary:
        logger.warning(summary)
        rows = splits.read_dropped(made).head(_SHOWN_ROWS).to_dict(orient="records")
        create_table_artifact(rows, key="left-out-of-the-split", description=summary)
    return made
