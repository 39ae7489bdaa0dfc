"""The cost of changing the splits, in clips, groups and classes."""

from __future__ import annotations

import pandas as pd

from audiocls.errors import counted, name_some
from audiocls.sources import SPLITS, by_label


def change_of(table: pd.DataFrame, after: pd.Series) -> str:
    """Format what changes between the splits of a table and new splits.

    Args:
        table: Clips with `group`, `label` and `split`.
        after: Their splits after the change, with the index of `table`; missing for dropped clips.

    Returns:
        Text such as "2 clips of 1 group and 2 classes (train 300 -> 298, validation 28 -> 28, test 60 -> 60)", and the
        classes that lose their last clip of a split.
    """
    changed = table[after.ne(table["split"])]
    sizes = [f"{name} {(table['split'] == name).sum()} -> {(after == name).sum()}" for name in SPLITS]
    return (
        f"{counted(len(changed), 'clip')} of {counted(changed['group'].nunique(), 'group')} and "
        f"{counted(by_label(changed)['label'].nunique(), 'class')} "
        f"({', '.join(sizes)})" + _losses(table, after)
    )


def _losses(table: pd.DataFrame, after: pd.Series) -> str:
    losses = []
    for name in SPLITS:
        before, left = table[table["split"] == name], table[after == name]
        lost = set(by_label(before)["label"]) - set(by_label(left)["label"])
        if lost:
            losses.append(f"no {name} clip of {name_some(sorted(lost))}")
    return f", and leaves {' and '.join(losses)}" if losses else ""
