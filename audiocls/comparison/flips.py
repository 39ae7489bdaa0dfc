"""Clips whose answer is right in one run and wrong in another."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

from audiocls.comparison.common_clips import CommonClips
from audiocls.sources import label_text

FIXED: Final = "fixed"
BROKEN: Final = "broken"
CHANGED: Final = "changed"
KINDS: Final = (BROKEN, FIXED, CHANGED)
"""Right before and wrong now; wrong before and right now; wrong in both, in another way."""

_SHOWN: Final = ("clip_id", "source", "path", "start_seconds", "end_seconds", "group", "label")


def find_flips(common: CommonClips, run: int) -> pd.DataFrame:
    """Return the clips whose answer differs between the first run and another, those that broke first.

    Within a kind, the answers that one of the runs is the most certain of come first.

    Returns:
        Columns `kind`, those that say which clip it is, `predicted_before` and `probability_before` of the first run,
        and `predicted` and `probability` of the other.
    """
    first, other = common.tables[0], common.tables[run]
    before, now = (_right(table) for table in (first, other))
    answers = [_texts(table) for table in (first, other)]
    kind = np.select([before & ~now, ~before & now, answers[0] != answers[1]], [BROKEN, FIXED, CHANGED], "")
    table = first[[*_SHOWN]].assign(
        kind=kind,
        predicted_before=answers[0],
        probability_before=first["probability"].to_numpy(float),
        predicted=answers[1],
        probability=other["probability"].to_numpy(float),
    )
    table = table[kind != ""]
    certain = table[["probability_before", "probability"]].max(axis=1)
    order = table["kind"].map({name: place for place, name in enumerate(KINDS)})
    rows = np.lexsort((-certain.to_numpy(), order.to_numpy()))
    return table.iloc[rows][["kind", *_SHOWN, *table.columns[-4:]]].reset_index(drop=True)


def _right(table: pd.DataFrame) -> np.ndarray:
    """Return which answers are right; `correct` is not read, as the labels may be those of another run."""
    if "labels" not in table:
        return (table["predicted"] == table["label"]).to_numpy(bool)
    rows = zip(table["predicted"], table["labels"], table["unknown"], strict=True)
    return np.array([set(found) - set(unknown) == set(true) for found, true, unknown in rows])


def _texts(table: pd.DataFrame) -> np.ndarray:
    if "labels" not in table:
        return table["predicted"].to_numpy(object)
    return np.array([label_text(sorted(found)) for found in table["predicted"]], object)
