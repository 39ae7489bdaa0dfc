"""The split ledger: which split a group was put into, so that no later corpus moves it.

Without it a split that is stratified has to move some groups when others come or go; with it, a test clip of today is
a test clip of every retraining to come, and the champion and its challenger can be compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
from filelock import FileLock

from audiocls.atomic import write_table


@contextmanager
def remembered_splits(ledger: Path) -> Iterator[dict[str, str]]:
    """Yield the split of every group met so far; what the block adds is written down when it ends well.

    Runs that share a ledger wait for each other here.
    """
    ledger.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(ledger.with_suffix(".lock")):
        splits = _read(ledger)
        before = dict(splits)
        yield splits
        if splits != before:
            rows = sorted(splits.items())
            write_table(pd.DataFrame(rows, columns=["group", "split"], dtype="string"), ledger)


def _read(ledger: Path) -> dict[str, str]:
    if not ledger.exists():
        return {}
    table = pd.read_parquet(ledger)
    return dict(zip(table["group"], table["split"], strict=True))
