"""Balance the classes of the training split."""

from __future__ import annotations

from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from audiocls import balance
from audiocls.stopwatch import timed


@task(cache_policy=NO_CACHE)
@timed
def balance_classes(split_clips: Path, params: balance.BalanceParams, seed: int, workspace: Path) -> balance.Balanced:
    """Repeat, leave out or weigh training clips, as the method says."""
    return balance.balance(split_clips, params, seed, workspace)
