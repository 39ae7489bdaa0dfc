"""The table of the metrics of a run, with their intervals on test."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from audiocls.files import replacing
from audiocls.metrics import Interval

METRICS: Final = "metrics.csv"


def write_metrics(metrics: Mapping[str, float], intervals: Mapping[str, Interval], folder: Path) -> None:
    """Write `metrics.csv`: `metric`, `validation`, `test`, and the 95 % interval of test, empty if there is none.

    Args:
        metrics: Named `validation/...` and `test/...`.
        intervals: Of test, by name without the split.
        folder: Gets the table.
    """
    values = {
        split: {
            name.removeprefix(f"{split}/"): value for name, value in metrics.items() if name.startswith(f"{split}/")
        }
        for split in ("validation", "test")
    }
    rows = []
    for name in dict.fromkeys([*values["test"], *values["validation"]]):
        ends = (intervals[name].low, intervals[name].high) if name in intervals else (np.nan, np.nan)
        of_splits = (values[split].get(name, np.nan) for split in ("validation", "test"))
        rows.append((name, *of_splits, *(float(np.squeeze(end)) for end in ends)))
    table = pd.DataFrame(rows, columns=["metric", "validation", "test", "test_low", "test_high"])
    with replacing(folder / METRICS) as part:
        table.to_csv(part, index=False)
