"""Models that MLflow keeps."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from mlflow import MlflowException, artifacts, get_tracking_uri, set_tracking_uri
from mlflow.environment_variables import MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR, MLFLOW_TRACKING_URI
from mlflow.models import Model

from audiocls.errors import ParamsError
from audiocls.files import masked, told_when_full
from audiocls.tracking.delivery import deliver
from audiocls.tracking.logged_models import MODEL_NAME
from audiocls.tracking.run import TrackedRun

_RUN_ID: Final = re.compile(r"[0-9a-f]{32}")


def log_logged_model(
    run: TrackedRun,
    save: Callable[[Path, Model], None],
    metrics: Mapping[str, float],
    step: int,
    tags: Mapping[str, str],
) -> None:
    """Log the model of a run, with the run's params and with metrics that belong to both.

    A run has one model: a repeated call keeps the one that an earlier call finished, and replaces an unfinished one.

    Args:
        run: That trained the model.
        save: Writes MLflow's model folder: takes the path, and the record that becomes its `MLmodel`.
        metrics: Of the model, such as `test/f1_macro`.
        step: Of training, at which the model was kept.
        tags: Of the model.
    """
    with TemporaryDirectory() as scratch:
        folder = Path(scratch) / MODEL_NAME
        with told_when_full(folder.parent, "the model was written for MLflow"):
            save(folder, Model(run_id=run.run_id))
        values = {name: float(value) for name, value in metrics.items()}
        record = {"kind": "model", "path": str(folder), "metrics": values, "step": step, "tags": dict(tags)}
        deliver(run, record)


def download_model(name: str, store: str | None = None) -> Path:
    """Return a local folder of a model, downloaded from MLflow if it is elsewhere.

    Args:
        name: The id of a run, or an MLflow URI such as `models:/name@alias`.
        store: The tracking URI; None: that of MLFLOW_TRACKING_URI.

    Raises:
        ParamsError: The store has no such model.
    """
    if not MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.is_set():
        MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.set(False)  # it would draw a line a file
    uri = f"runs:/{name}/{MODEL_NAME}" if _RUN_ID.fullmatch(name) else name
    try:
        with _using(store):
            folder = Path(artifacts.download_artifacts(uri))
    except (MlflowException, OSError) as error:
        first = masked(" ".join(str(error).split()))
        raise ParamsError(
            f"{name}: not found in {masked(store or get_tracking_uri())}: {first}. Set MLFLOW_TRACKING_URI to the "
            "store that has it."
        ) from error
    return next((path.parent for path in sorted(folder.rglob("config.json"))), folder)


@contextmanager
def _using(store: str | None) -> Iterator[None]:
    """Make a store MLflow's own while the block runs: it looks for a run's model there, whatever it is told."""
    if store is None:
        yield
        return
    before = MLFLOW_TRACKING_URI.get_raw()
    set_tracking_uri(store)
    try:
        yield
    finally:
        set_tracking_uri(None)
        if before is not None:
            MLFLOW_TRACKING_URI.set(before)
