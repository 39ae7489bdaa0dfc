"""The split ledger: which split a group and its sounds were put into, so that no later corpus moves it.

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
from audiocls.columns import SPLITS
from audiocls.spelling import composed

# No group has such a name by accident.
_SOUND = "\x1faudio "


def recall(clips: pd.DataFrame, remembered: dict[str, str]) -> pd.Series:
    """Return the split of each clip whose group was met before, or whose sound was, under another name of the group.

    Args:
        clips: With `group` and `audio_hash`.
        remembered: Of `remembered_splits`.
    """
    return clips["group"].map(remembered).fillna((_SOUND + clips["audio_hash"]).map(remembered)).dropna()


def remember(clips: pd.DataFrame, splits: pd.Series, remembered: dict[str, str]) -> None:
    """Keep the split of each clip, of the index of `clips`, for its group and for its sound."""
    remembered.update(zip(clips["group"], splits, strict=True))
    remembered.update(zip(_SOUND + clips["audio_hash"], splits, strict=True))


@contextmanager
def remembered_splits(ledger: Path) -> Iterator[dict[str, str]]:
    """Yield the split of every group and sound met so far; what the block adds is written down when it ends well.

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
    # Older ledgers spell groups as the source did. Of two spellings of one group, the one that was trained on counts.
    rows = sorted(zip(table["group"], table["split"], strict=True), key=lambda row: -SPLITS.index(row[1]))
    return {composed(group): split for group, split in rows}
