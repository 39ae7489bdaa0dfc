"""What identifies a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from audiocls.files import without_user

VIEW: Final = "audiocls"


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """An MLflow run in progress."""

    uri: str
    experiment_id: str
    run_id: str
    folder: Path  # of this run in the workspace: checkpoints, model, reports

    @property
    def table(self) -> str:
        """The path of the experiment's runs, with their scores, below the root of an MLflow server."""
        return f"#/experiments/{self.experiment_id}/runs?workflowType=machine_learning&viewStateShareKey={VIEW}"

    @property
    def page(self) -> str:
        """The run's path below the root of an MLflow server."""
        return f"#/experiments/{self.experiment_id}/runs/{self.run_id}?workflowType=machine_learning"

    @property
    def url(self) -> str | None:
        """The URL of the run's page; None if the store is not a server."""
        return self._on_server(self.page)

    @property
    def table_url(self) -> str | None:
        """The URL of the experiment's runs; None if the store is not a server."""
        return self._on_server(self.table)

    def _on_server(self, path: str) -> str | None:
        return f"{without_user(self.uri)[0].rstrip('/')}/{path}" if self.uri.startswith("http") else None


@dataclass(frozen=True, slots=True)
class NestedRun:
    """A child run, logged once it is complete."""

    name: str
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    balance_files: Path  # a folder that describes the training clips
