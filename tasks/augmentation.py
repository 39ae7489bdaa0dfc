"""Look at the recordings that training clips are augmented with."""

from __future__ import annotations

from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from audiocls import augmentation
from audiocls.params import RunParams
from audiocls.stopwatch import timed


@task(cache_policy=NO_CACHE)
@timed
def check_augmentation(split_clips: Path, store: Path, params: RunParams) -> RunParams:
    """Stop where training would hear a held-out recording; return the params without files that are left out."""
    return augmentation.check_recordings(split_clips, store, params)
