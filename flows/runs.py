"""The names of flow runs, and what their summaries say of MLflow."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from prefect.runtime import flow_run

from audiocls.errors import counted
from audiocls.files import masked
from audiocls.tracking import Unsent

_OF_SYNC = ("workspace=", "tracking.uri=")


def name_run() -> str:
    """Name a run by its params file and the time, e.g. phrases-20261122-120501; the MLflow run has the same name."""
    return f"{Path(flow_run.parameters['params_file']).stem}-{datetime.now(UTC):%Y%m%d-%H%M%S}"


def name_evaluation() -> str:
    """Name an evaluation as a run of the same params, but so that it is not taken for a training."""
    return f"evaluate-{name_run()}"


def report_unsent(unsent: Unsent | None, params_file: str, overrides: Sequence[str]) -> str:
    """Return a paragraph for the summary on what MLflow has not, and how to send it; "" if it has everything."""
    if unsent is None:
        return ""
    command = masked(shlex.join(["audiocls", "sync", params_file, *(o for o in overrides if o.startswith(_OF_SYNC))]))
    records = counted(unsent.records, "record is", "records are")
    return f"**MLflow could not be reached**: {records} kept in `{unsent.folder}`; send them with `{command}`.\n\n"
