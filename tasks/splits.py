"""Say which clip is for training, validation or test."""

from __future__ import annotations

from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from audiocls import splits
from audiocls.corpus import Corpus
from audiocls.params import SplitParams
from audiocls.stopwatch import timed


@task(cache_policy=NO_CACHE)
@timed
def assign_splits(corpus: Corpus, params: SplitParams, seed: int, workspace: Path) -> Path:
    """Keep or make the split, and check it; return the clips with their splits."""
    return splits.assign_splits(corpus.clips, params, seed, workspace)
