"""Say which clip is for training, validation or test."""

from __future__ import annotations

from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from audiocls import splits
from audiocls.corpus import Corpus
from audiocls.params import RunParams
from audiocls.stopwatch import timed


@task(cache_policy=NO_CACHE)
@timed
def assign_splits(corpus: Corpus, near_duplicates: Path, params: RunParams) -> Path:
    """Keep or make the split, and check it; return the clips with their splits."""
    ledger = splits.ledger_of(params.experiment, params.split, params.seed, params.workspace)
    return splits.assign_splits(corpus.clips, params.split, params.seed, params.workspace, ledger, near_duplicates)
