"""What identifies a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audiocls.files import without_user


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """An MLflow run in progress."""

    uri: str
    experiment_id: str
    run_id: str
    folder: Path  # of this run in the workspace: checkpoints, model, reports

    @property
    def page(self) -> str:
        """The run's path below the root of an MLflow server."""
        return f"#/experiments/{self.experiment_id}/runs/{self.run_id}"

    @property
    def url(self) -> str | None:
        """The URL of the run's page; None if the store is not a server."""
        return f"{without_user(self.uri)[0].rstrip('/')}/{self.page}" if self.uri.startswith("http") else None


@dataclass(frozen=True, slots=True)
class NestedRun:
    """A child run, logged once it is complete."""

    name: str
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    balance_files: Path  # a folder that describes the training clips
