"""Check the files and models that the params name before decoding."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from audiocls import training
from audiocls.params import RunParams
from audiocls.stopwatch import timed
from tasks.retries import unless_mistaken


# Retried, because the check of a checkpoint on the Hub uses the network.
@task(cache_policy=NO_CACHE, retries=2, retry_delay_seconds=5, retry_condition_fn=unless_mistaken)
@timed
def check_run(params: RunParams) -> None:
    """Reject a checkpoint, a folder or a setting that training would fail with."""
    training.check_run(params)
