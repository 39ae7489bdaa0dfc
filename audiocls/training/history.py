"""The metrics of a training by step, kept in the run's folder: what MLflow gets, readable without it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import pandas as pd

from audiocls.training.trainer import MetricLog

FILE_NAME: Final = "history.jsonl"


def keeping_history(folder: Path, log: MetricLog, *, resumed: bool) -> MetricLog:
    """Return a log that also appends every measurement to `history.jsonl`.

    Args:
        folder: Of the run.
        log: Receives the metrics as well.
        resumed: Whether to append to the history of the training before it was interrupted.
    """
    file = folder / FILE_NAME
    folder.mkdir(parents=True, exist_ok=True)
    if not resumed:
        file.unlink(missing_ok=True)

    def log_and_keep(metrics: dict[str, float], step: int) -> None:
        log(metrics, step)
        with file.open("a", encoding="utf-8") as out:
            out.write(json.dumps({"step": step} | metrics) + "\n")

    return log_and_keep


def read_history(folder: Path) -> pd.DataFrame:
    """Return one row per step, with a column per metric; a step that was measured twice has its last values."""
    file = folder / FILE_NAME
    if not file.exists():
        return pd.DataFrame({"step": []})
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    table = pd.DataFrame(rows, dtype="float64")
    return table.groupby("step", as_index=False).last().sort_values("step", ignore_index=True)
