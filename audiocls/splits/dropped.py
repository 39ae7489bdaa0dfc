"""Clips that were dropped from a split, one row each with a reason, in a table beside the kept clips.

    <workspace>/splits/<name>.parquet            the clips with their splits
    <workspace>/splits/<name>/dropped.parquet    the dropped clips

Columns: `clip_id`, `label`, `group`, `split` (that the clip would have been in), `reason` (`copies.COPY` or
`copies.REMEMBERED`) and `detail`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pandas as pd

from audiocls.errors import counted
from audiocls.files import write_table
from audiocls.sources import SPLITS

COLUMNS: Final = ("clip_id", "label", "group", "split", "reason", "detail")


def dropped_beside(splits: Path) -> Path:
    """Return the path of the table of clips that were dropped from `splits`."""
    return splits.with_suffix("") / "dropped.parquet"


def write_dropped(table: pd.DataFrame, splits: Path) -> Path:
    """Write the table, even if it is empty: an empty table means that nothing had to be dropped."""
    return write_table(table[list(COLUMNS)].astype("string"), dropped_beside(splits))


def read_dropped(splits: Path) -> pd.DataFrame:
    """Read the table of clips that were dropped from `splits`."""
    return pd.read_parquet(dropped_beside(splits))


def dropped_summary(splits: Path) -> str:
    """Summarize in one line how many clips were dropped from which split, why, and where to look; "" if none."""
    table = read_dropped(splits)
    if table.empty:
        return ""
    reasons = ", ".join(f"{count} {reason}" for reason, count in table["reason"].value_counts().items())
    counts = table["split"].value_counts()
    sides = ", ".join(f"{counts[name]} of {name}" for name in SPLITS if name in counts)
    clips = counted(len(table), "clip was", "clips were")
    return f"{clips} left out of the split ({reasons}; {sides}); see {dropped_beside(splits)}"
