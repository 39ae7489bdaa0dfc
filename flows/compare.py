"""Compare finished runs: `audiocls compare RUN RUN ... [--out FOLDER]`."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.cli import main

if __name__ == "__main__":  # before Prefect is imported, so that mistakes are reported quickly
    sys.exit(main(["compare", *sys.argv[1:]]))

from prefect import flow

from audiocls.stopwatch import stopwatch
from tasks.comparison import compare_runs


@dataclass(frozen=True, slots=True)
class CompareResult:
    """The result of `compare-flow`, which the command line prints as JSON."""

    runs: list[str]
    clips: int
    groups: int
    metric: str
    differences: list[dict[str, Any]]
    flips: list[dict[str, int]]
    folder: str
    seconds: dict[str, float]
    summary: str


@flow(name="compare-flow")
def compare_flow(
    runs: list[str], out: str | None = None, workspace: str = "workspace", uri: str | None = None
) -> CompareResult:
    """Compare finished runs with the first of them, on the test clips that they have in common."""
    home = Path(workspace)
    store = uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{home.absolute() / 'mlflow.db'}"
    with stopwatch() as seconds:
        compared = compare_runs(runs, home, store, None if out is None else Path(out))
    return CompareResult(
        compared.runs,
        compared.clips,
        compared.groups,
        compared.metric,
        compared.differences,
        compared.flips,
        str(compared.folder),
        seconds,
        compared.summary,
    )
