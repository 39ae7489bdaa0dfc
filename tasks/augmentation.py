"""Check the recordings that training clips are augmented with."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from audiocls import augmentation
from audiocls.splits import PreparedData
from audiocls.stopwatch import timed


@task(cache_policy=NO_CACHE)
@timed
def check_augmentation(data: PreparedData) -> PreparedData:
    """Stop if training would use a held-out recording; return params that exclude such files."""
    return augmentation.check_recordings(data)
