"""Clips that were left out of a split, a row each with a reason, in a table beside the clips that were kept.

    <workspace>/splits/<name>.parquet            the clips with their splits
    <workspace>/splits/<name>/dropped.parquet    what was left out

Columns: `clip_id`, `label`, `group`, `split` (that the clip would have been in), `reason` (`copies.COPY` or
`copies.REMEMBERED`) and `detail`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pandas as pd

from audiocls.files import write_table
from audiocls.sources import SPLITS

COLUMNS: Final = ("clip_id", "label", "group", "split", "reason", "detail")


def dropped_beside(splits: Path) -> Path:
    """Name the table of what was left out of the clips of `splits`."""
    return splits.with_suffix("") / "dropped.parquet"


def write_dropped(table: pd.DataFrame, splits: Path) -> Path:
    """Write the table; without rows too, so that none means that it was looked for."""
    return write_table(table[list(COLUMNS)].astype("string"), dropped_beside(splits))


def read_dropped(splits: Path) -> pd.DataFrame:
    """Read the table of what was left out of the clips of `splits`."""
    return pd.read_parquet(dropped_beside(splits))


def dropped_summary(splits: Path) -> str:
    """Say in one line how many clips were left out of which split, why, and where to look; "" when none were."""
    table = read_dropped(splits)
    if table.empty:
        return ""
    reasons = ", ".join(f"{count} {reason}" for reason, count in table["reason"].value_counts().items())
    counts = table["split"].value_counts()
    sides = ", ".join(f"{counts[name]} of {name}" for name in SPLITS if name in counts)
    clips = "clip was" if len(table) == 1 else "clips were"
    return f"{len(table)} {clips} left out of the split ({reasons}; {sides}); see {dropped_beside(splits)}"
