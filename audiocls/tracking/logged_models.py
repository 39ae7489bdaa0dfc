"""The upload of a run's model to MLflow."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from mlflow.entities import LoggedModel, LoggedModelOutput, LoggedModelStatus, Metric
from mlflow.models import Model
from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT, MLFLOW_SOURCE_NAME, MLFLOW_USER

from audiocls.tracking.names import fit_names
from audiocls.tracking.run import TrackedRun
from audiocls.tracking.uploads import upload_folder

MODEL_NAME: Final = "model"
TESTED: Final = "test"
_SHOWN_TAGS: Final = (MLFLOW_USER, MLFLOW_SOURCE_NAME, MLFLOW_GIT_COMMIT)  # on the model's page


def send_model(
    client: Any, run: TrackedRun, folder: Path, metrics: Mapping[str, float], step: int, tags: Mapping[str, str]
) -> str:
    """Upload MLflow's folder of a model as the model of a run; return the model's id.

    A run has one model: a repeated call keeps the one that an earlier call finished, and replaces an unfinished one.
    """
    finished = _find_finished(client, run)
    if not finished:
        model = _create(client, run, tags)
        record = Model.load(str(folder))
        record.artifact_path, record.run_id, record.model_id = model.artifact_location, run.run_id, model.model_id
        record.save(str(folder / "MLmodel"))
        upload_folder(folder, partial(client.log_model_artifact, model.model_id))
        _log_metrics(client, run, model.model_id, metrics, step)
        client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
        finished = str(model.model_id)
    outputs = client.get_run(run.run_id).outputs
    if outputs is None or finished not in [output.model_id for output in outputs.model_outputs]:
        client.log_outputs(run.run_id, [LoggedModelOutput(finished, step)])
    return finished


def _find_finished(client: Any, run: TrackedRun) -> str | None:
    """Return the id of the run's model; delete unfinished ones if there is none."""
    logged = client.search_logged_models([run.experiment_id], f"source_run_id = '{run.run_id}'")
    finished = [str(model.model_id) for model in logged if model.status == LoggedModelStatus.READY]
    if finished:
        return finished[0]
    for left in logged:
        client.delete_logged_model(left.model_id)
    return None


def _create(client: Any, run: TrackedRun, tags: Mapping[str, str]) -> LoggedModel:
    of_run = client.get_run(run.run_id).data
    shown = {name: of_run.tags[name] for name in _SHOWN_TAGS if name in of_run.tags} | dict(tags)
    return client.create_logged_model(run.experiment_id, MODEL_NAME, run.run_id, shown, of_run.params, "classifier")


def _log_metrics(client: Any, run: TrackedRun, model_id: str, metrics: Mapping[str, float], step: int) -> None:
    """Log metrics of a model on the test split, or on the clips that the run names as its data."""
    found = [each.dataset for each in client.get_run(run.run_id).inputs.dataset_inputs]
    tested = [each for each in found if each.name == TESTED] or found
    name, digest = (tested[0].name, tested[0].digest) if tested else (None, None)
    now = int(time.time() * 1000)
    entries = [Metric(fit, metrics[key], now, step, model_id, name, digest) for key, fit in fit_names(metrics).items()]
    for start in range(0, len(entries), 1_000):
        client.log_batch(run.run_id, metrics=entries[start : start + 1_000])
