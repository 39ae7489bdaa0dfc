"""Balance the classes of the training split."""

from __future__ import annotations

from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from audiocls.balance import Balanced, balance
from audiocls.balance_params import BalanceParams
from audiocls.stopwatch import timed


@task(cache_policy=NO_CACHE)
@timed
def balance_classes(split_clips: Path, params: BalanceParams, seed: int, workspace: Path) -> Balanced:
    """Repeat, leave out or weigh training clips, as the method says."""
    return balance(split_clips, params, seed, workspace)
