"""Check what the params name before anything is decoded."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from audiocls import training
from audiocls.params import RunParams
from audiocls.stopwatch import timed
from tasks.retries import unless_mistaken


# Retried, as a checkpoint on the hub is asked for over the network.
@task(cache_policy=NO_CACHE, retries=2, retry_delay_seconds=5, retry_condition_fn=unless_mistaken)
@timed
def check_run(params: RunParams) -> None:
    """Refuse a checkpoint, a folder or a setting that training would fail with."""
    training.check_run(params)
