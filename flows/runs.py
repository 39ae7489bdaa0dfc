"""The names of flow runs."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from prefect.runtime import flow_run


def name_run() -> str:
    """Name a run by its params file and the time, e.g. phrases-20261122-120501; the MLflow run has the same name."""
    return f"{Path(flow_run.parameters['params_file']).stem}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
