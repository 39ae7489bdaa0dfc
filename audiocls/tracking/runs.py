"""MLflow runs, one per training. Only this module imports MLflow."""

from __future__ import annotations

import getpass
import json
import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_MAX_RETRIES
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.utils.mlflow_tags import (
    MLFLOW_GIT_COMMIT,
    MLFLOW_PARENT_RUN_ID,
    MLFLOW_RUN_NAME,
    MLFLOW_RUN_NOTE,
    MLFLOW_SOURCE_NAME,
    MLFLOW_USER,
)
from sqlalchemy.exc import SQLAlchemyError

from audiocls.errors import AudioclsError, TrackingError
from audiocls.files import database_file, full_disk, is_full, masked, masked_values, without_user
from audiocls.params import RunParams
from audiocls.params_file import check_writable, dump_params
from audiocls.progress import progress_bar
from audiocls.tracking.environment import describe_environment, git_revision
from audiocls.tracking.names import fit_names, flatten, safe
from audiocls.tracking.store import PatientClient, create_database, is_server, probe
from audiocls.tracking.unfinished import Claim, can_go_on, claim
from audiocls.tracking.uploads import upload_folder

logger = logging.getLogger(__name__)

# Waits of 0, 4, 8, 16 and 32 s leave time to restart a server; MLflow's default of 7 retries would wait 4 minutes per
# call. The environment variable takes precedence.
_HTTP_RETRIES: Final = 5
# Without it, MLflow 3's UI treats an experiment as one on language models.
_EXPERIMENT_KIND = "custom_model_development"
# MLflow's limits: entries per call, characters of a parameter's value and of a dataset digest.
_MOST_PARAMS, _LONGEST_PARAM, _LONGEST_DIGEST = 100, 6_000, 36
# Errors that MLflow passes on: those of the database, a disk or a network, and a driver that is not installed.
_STORE_ERRORS = (MlflowException, SQLAlchemyError, OSError, ImportError)


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


@contextmanager
def tracked_run(params: RunParams, name: str, tags: Mapping[str, str], flow: str = "") -> Iterator[TrackedRun]:
    """Open a run, log its params, and end it as finished, failed or killed.

    A run of the same flow and params is resumed if it was killed or interrupted, or if it failed for an external
    reason, such as a lost server or a full disk.

    Raises:
        ParamsError: The workspace or the database cannot be written.
        TrackingError: The store or server cannot be used.
    """
    check_writable(params)
    with claim(params.workspace, flow + params.model_dump_json()) as claimed:
        run = _open(claimed, params, name, tags)
        try:
            _log_params(run, params)
            yield run
        except Exception as error:
            _end_early(run, "FAILED", masked(str(error))[:5_000])
            if not can_go_on(error):
                _release(claimed)
            raise
        except BaseException as error:
            _end_early(run, "KILLED", type(error).__name__)
            raise
        with open_client(run.uri) as client:
            client.set_terminated(run.run_id, "FINISHED")
        _release(claimed)


def _release(claimed: Claim | None) -> None:
    if claimed:
        claimed.clear()


def _open(claimed: Claim | None, params: RunParams, name: str, tags: Mapping[str, str]) -> TrackedRun:
    """Resume the run that the same command left unfinished, or start a new one."""
    left = claimed.read() if claimed and params.training.resume else None
    run = (left and _reopen(left, params, tags)) or start_run(params, name, tags)
    if claimed:
        claimed.write(run.run_id)
    return run


def _reopen(run_id: str, params: RunParams, tags: Mapping[str, str]) -> TrackedRun | None:
    """Set an unfinished run to running again; None if MLflow no longer has it or it has finished."""
    uri = params.tracking_uri
    _make_ready(uri)
    with open_client(uri) as client:
        found = _find(client, run_id)
        # A run is FAILED here only if its claim was kept, and RUNNING if its end could not be reported to MLflow.
        if found is None or found.info.lifecycle_stage != "active" or found.info.status == "FINISHED":
            return None
        client.update_run(run_id, status="RUNNING")
        if "error" in found.data.tags:
            client.delete_tag(run_id, "error")
    run = TrackedRun(uri, found.info.experiment_id, run_id, params.workspace / "runs" / run_id)
    log_tags(run, tags)
    logger.info("Run %s did not finish: this run resumes it.", run_id)
    return run


def _find(client: MlflowClient, run_id: str) -> Any:
    try:
        return client.get_run(run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def start_run(params: RunParams, name: str, tags: Mapping[str, str]) -> TrackedRun:
    """Create an empty run, and its experiment if necessary."""
    uri = params.tracking_uri
    _make_ready(uri)
    with open_client(uri) as client:
        experiment_id = _experiment(client, params)
        created = client.create_run(experiment_id, tags=_tags(name) | dict(tags), run_name=name)
    return TrackedRun(uri, experiment_id, created.info.run_id, params.workspace / "runs" / created.info.run_id)


def _log_params(run: TrackedRun, params: RunParams) -> None:
    """Log the params, the environment and the resolved YAML, which has values that are too long for a param in full."""
    flat = flatten(masked_values(params.model_dump(mode="json")))
    entries = [Param(fit, flat[key][:_LONGEST_PARAM]) for key, fit in fit_names(flat).items()]
    with open_client(run.uri) as client:
        for start in range(0, len(entries), _MOST_PARAMS):
            client.log_batch(run.run_id, params=entries[start : start + _MOST_PARAMS])
        client.log_text(run.run_id, masked(dump_params(params)), "params.yaml")
        client.log_text(run.run_id, json.dumps(describe_environment(), indent=2), "environment.json")


def _end_early(run: TrackedRun, status: str, reason: str) -> None:
    """End a run that did not finish; if the store fails too, only log that, so that the original error is raised."""
    try:
        if is_server(run.uri):
            probe(run.uri)  # otherwise MLflow would wait for a lost server again
        with open_client(run.uri) as client:
            client.set_tag(run.run_id, "error", reason)
            client.set_terminated(run.run_id, status)
    except AudioclsError as error:
        logger.warning("run %s could not be marked as %s: %s", run.run_id, status, error)


def _make_ready(uri: str) -> None:
    """Check that the server answers, or create the database, before MLflow's client waits for it for long."""
    if is_server(uri):
        probe(uri)
        return
    file = database_file(uri)
    if file is not None:
        with _tracking_errors(uri):
            create_database(file, _migrate)


def _migrate(uri: str) -> None:
    """Create all tables of an SQLite database, and close it."""
    SqlAlchemyStore(uri, "mlruns").engine.dispose()  # no run of ours stores its artifacts there


@contextmanager
def open_client(uri: str) -> Iterator[MlflowClient]:
    """Yield a client that raises TrackingErrors and waits a limited time for a lost server or a locked database."""
    if not MLFLOW_HTTP_REQUEST_MAX_RETRIES.is_set():
        MLFLOW_HTTP_REQUEST_MAX_RETRIES.set(_HTTP_RETRIES)
    with _tracking_errors(uri):
        yield PatientClient(MlflowClient(uri))


@contextmanager
def _tracking_errors(uri: str) -> Iterator[None]:
    """Convert errors that MLflow passes on to one line that names the store."""
    try:
        yield
    except _STORE_ERRORS as error:
        text = _one_line(error)
        # A traceback would show the cause, including what the message masks.
        cause = error if masked(text) == text else None
        if is_full(error):
            folder = (database_file(uri) or Path()).absolute().parent
            raise full_disk(folder, "MLflow's files were written", text) from cause
        raise TrackingError(f"tracking.uri = {masked(uri)}: MLflow failed: {masked(text)}") from cause


def _one_line(error: Exception) -> str:
    """Remove the statement and the values that SQLAlchemy appends to a database error."""
    return " ".join(str(error).partition("\n[SQL:")[0].split())


def _experiment(client: MlflowClient, params: RunParams) -> str:
    found = client.get_experiment_by_name(params.experiment)
    if found is not None:
        if found.lifecycle_stage != "active":
            raise TrackingError(
                f"experiment = {params.experiment}: it was deleted in MLflow. Restore it, or use another name."
            )
        return str(found.experiment_id)
    # A server decides where artifacts go; for a database file, MLflow would use the current working directory.
    on_server = is_server(params.tracking_uri)
    location = None if on_server else (params.workspace / "mlartifacts" / safe(params.experiment)).absolute().as_uri()
    try:
        tags = {"mlflow.experimentKind": _EXPERIMENT_KIND}
        return str(client.create_experiment(params.experiment, location, tags=tags))
    except MlflowException:
        found = client.get_experiment_by_name(params.experiment)
        if found is None:
            raise
        return str(found.experiment_id)  # Another run created it in the meantime.


def _tags(name: str) -> dict[str, str]:
    tags = {MLFLOW_RUN_NAME: name, MLFLOW_SOURCE_NAME: "audiocls", MLFLOW_USER: _user()}
    revision = git_revision()
    if revision is not None:
        tags |= {MLFLOW_GIT_COMMIT: revision[0], "git.changed": str(revision[1]).lower()}
    return tags


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def log_metrics(run: TrackedRun, metrics: Mapping[str, float], step: int = 0) -> None:
    """Log metrics in batches of the size that MLflow accepts.

    Characters that MLflow rejects in a name become `_`; names that would then collide get another `_` each.
    """
    now = int(time.time() * 1000)
    entries = [Metric(fit, metrics[name], now, step) for name, fit in fit_names(metrics).items()]
    with open_client(run.uri) as client:
        for start in range(0, len(entries), 1_000):
            client.log_batch(run.run_id, metrics=entries[start : start + 1_000])


def log_nested_runs(run: TrackedRun, nested: Iterable[NestedRun]) -> None:
    """Log child runs of a run, each in one batch.

    Finished child runs of the same name are kept: they were logged before the run was killed and resumed.
    """
    now = int(time.time() * 1000)
    with open_client(run.uri) as client:
        below = client.search_runs([run.experiment_id], f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{run.run_id}'")
        there = {found.info.run_name for found in below if found.info.status == "FINISHED"}
        new = [each for each in nested if each.name not in there]
        with progress_bar("uploading", len(new), "runs") as bar:
            for each in new:
                tags = _tags(each.name) | {MLFLOW_PARENT_RUN_ID: run.run_id}
                made = client.create_run(run.experiment_id, tags=tags, run_name=each.name).info.run_id
                metrics = [Metric(fit, each.metrics[name], now, 0) for name, fit in fit_names(each.metrics).items()]
                params = [Param(safe(name), text[:_LONGEST_PARAM]) for name, text in flatten(each.params).items()]
                client.log_batch(made, metrics=metrics, params=params)
                client.log_artifacts(made, str(each.balance_files), "data/balance")
                client.set_terminated(made, "FINISHED")
                bar.advance(1)


def log_tags(run: TrackedRun, tags: Mapping[str, str]) -> None:
    """Set tags on the run."""
    with open_client(run.uri) as client:
        client.log_batch(run.run_id, tags=[RunTag(key, value) for key, value in tags.items()])


def describe_run(run: TrackedRun, markdown: str) -> None:
    """Set the description on the run's page."""
    with open_client(run.uri) as client:
        client.set_tag(run.run_id, MLFLOW_RUN_NOTE, markdown)


def log_artifacts(run: TrackedRun, path: Path, folder: str | None = None) -> None:
    """Copy a file, or the contents of a directory, to the run's artifacts."""
    with open_client(run.uri) as client:
        if path.is_dir():
            upload_folder(path, partial(client.log_artifact, run.run_id), folder)
        else:
            client.log_artifact(run.run_id, str(path), folder)


def log_json(run: TrackedRun, value: Any, name: str) -> None:
    """Write a value as JSON to the run's artifacts."""
    with open_client(run.uri) as client:
        client.log_text(run.run_id, json.dumps(value, indent=2, ensure_ascii=False), name)


def log_dataset(run: TrackedRun, source: Path, name: str, digest: str, profile: Mapping[str, int]) -> None:
    """Log the dataset of the run, so that runs on the same data can be identified."""
    where = json.dumps({"uri": source.absolute().as_uri()})
    dataset = Dataset(name, digest[:_LONGEST_DIGEST], "local", where, profile=json.dumps(profile))
    entry = DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])
    with open_client(run.uri) as client:
        client.log_inputs(run.run_id, datasets=[entry])
    log_tags(run, {"data.digest": digest})
