"""Models that MLflow keeps."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from mlflow import MlflowException, artifacts, get_tracking_uri
from mlflow.entities import LoggedModel, LoggedModelOutput, LoggedModelStatus, Metric
from mlflow.models import Model
from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT, MLFLOW_SOURCE_NAME, MLFLOW_USER

from audiocls.errors import ParamsError
from audiocls.files import masked
from audiocls.tracking.names import fit_names
from audiocls.tracking.runs import TrackedRun, open_client
from audiocls.tracking.uploads import upload_folder

MODEL_NAME: Final = "model"
_RUN_ID: Final = re.compile(r"[0-9a-f]{32}")
_SHOWN_TAGS: Final = (MLFLOW_USER, MLFLOW_SOURCE_NAME, MLFLOW_GIT_COMMIT)  # on the model's page


def log_logged_model(
    run: TrackedRun,
    save: Callable[[Path, Model], None],
    metrics: Mapping[str, float],
    step: int,
    tags: Mapping[str, str],
) -> str:
    """Log the model of a run, with the run's params and with metrics that belong to both; return the model's id.

    A run has one model: a repeated call keeps the one that an earlier call finished, and replaces an unfinished one.

    Args:
        run: That trained the model.
        save: Writes MLflow's model folder: takes the path, and the record that becomes its `MLmodel`.
        metrics: Of the model, such as `test/f1_macro`.
        step: Of training, at which the model was kept.
        tags: Of the model.
    """
    with open_client(run.uri) as client:
        logged = client.search_logged_models([run.experiment_id], f"source_run_id = '{run.run_id}'")
        finished = [str(model.model_id) for model in logged if model.status == LoggedModelStatus.READY]
        if not finished:
            for left in logged:
                client.delete_logged_model(left.model_id)
            model = _create(client, run, tags)
            with TemporaryDirectory() as scratch:
                folder = Path(scratch) / MODEL_NAME
                save(folder, Model(artifact_path=model.artifact_location, run_id=run.run_id, model_id=model.model_id))
                upload_folder(folder, partial(client.log_model_artifact, model.model_id))
            _log_metrics(client, run, model.model_id, metrics, step)
            client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
            finished = [str(model.model_id)]
        outputs = client.get_run(run.run_id).outputs
        if outputs is None or finished[0] not in [output.model_id for output in outputs.model_outputs]:
            client.log_outputs(run.run_id, [LoggedModelOutput(finished[0], step)])
        return finished[0]


def _create(client: Any, run: TrackedRun, tags: Mapping[str, str]) -> LoggedModel:
    of_run = client.get_run(run.run_id).data
    shown = {name: of_run.tags[name] for name in _SHOWN_TAGS if name in of_run.tags} | dict(tags)
    return client.create_logged_model(run.experiment_id, MODEL_NAME, run.run_id, shown, of_run.params, "classifier")


def _log_metrics(client: Any, run: TrackedRun, model_id: str, metrics: Mapping[str, float], step: int) -> None:
    """Log metrics of a model on the clips that the run names as its data."""
    found = client.get_run(run.run_id).inputs.dataset_inputs
    name, digest = (found[0].dataset.name, found[0].dataset.digest) if found else (None, None)
    now = int(time.time() * 1000)
    entries = [Metric(fit, metrics[key], now, step, model_id, name, digest) for key, fit in fit_names(metrics).items()]
    for start in range(0, len(entries), 1_000):
        client.log_batch(run.run_id, metrics=entries[start : start + 1_000])


def download_model(name: str) -> Path:
    """Return a local folder of a model, downloaded from MLflow if it is elsewhere.

    Args:
        name: The id of a run, or an MLflow URI such as `models:/name@alias`. The store is that of MLFLOW_TRACKING_URI.

    Raises:
        ParamsError: The store has no such model.
    """
    uri = f"runs:/{name}/{MODEL_NAME}" if _RUN_ID.fullmatch(name) else name
    try:
        folder = Path(artifacts.download_artifacts(uri))
    except (MlflowException, OSError) as error:
        first = masked(" ".join(str(error).split()))
        raise ParamsError(
            f"{name}: not found in {masked(get_tracking_uri())}: {first}. Set MLFLOW_TRACKING_URI to the store that "
            "has it."
        ) from error
    return next((path.parent for path in sorted(folder.rglob("config.json"))), folder)
