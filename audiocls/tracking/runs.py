"""MLflow runs, one per training: opened, resumed and ended."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from audiocls.errors import AudioclsError, TrackingError
from audiocls.files import masked
from audiocls.params import RunParams
from audiocls.params_file import check_writable
from audiocls.tracking.client import make_ready, open_client
from audiocls.tracking.delivery import deliver, deliver_kept, send_kept
from audiocls.tracking.entries import log_params, log_tags, now, tags_of
from audiocls.tracking.names import safe
from audiocls.tracking.outbox import Outbox
from audiocls.tracking.run import TrackedRun
from audiocls.tracking.store import is_server
from audiocls.tracking.unfinished import Claim, can_go_on, claim
from audiocls.tracking.view import share_view

logger = logging.getLogger(__name__)

# Without it, MLflow 3's UI treats an experiment as one on language models.
_EXPERIMENT_KIND: Final = "custom_model_development"


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
        with _owned(run):
            try:
                log_params(run, params)
                yield run
            except Exception as error:
                _end_early(run, "FAILED", masked(str(error))[:5_000])
                if not can_go_on(error):
                    _release(claimed)
                raise
            except BaseException as error:
                _end_early(run, "KILLED", type(error).__name__)
                raise
            _end(run, "FINISHED")
            _release(claimed)


def _owned(run: TrackedRun) -> AbstractContextManager[object]:
    """Own the run's outbox, so that `audiocls sync` leaves it to this process."""
    return Outbox(run.folder).owned(wait=True) if is_server(run.uri) else nullcontext()


def _end(run: TrackedRun, status: str) -> None:
    deliver(run, {"kind": "end", "status": status, "time": now()})
    deliver_kept(run)


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
    make_ready(uri)
    with open_client(uri) as client:
        found = _find_unfinished(client, run_id)
        if found is None:
            return None
        run = TrackedRun(uri, found.info.experiment_id, run_id, params.workspace / "runs" / run_id)
        _send_left(client, run)
        found = _find_unfinished(client, run_id)
        if found is None:
            return None
        client.update_run(run_id, status="RUNNING")
        if "error" in found.data.tags:
            client.delete_tag(run_id, "error")
    log_tags(run, tags)
    logger.info("Run %s did not finish: this run resumes it.", run_id)
    return run


def _find_unfinished(client: MlflowClient, run_id: str) -> Any:
    """Return a run that may be resumed: one that failed, was killed, or ended before MLflow could be told."""
    try:
        found = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
    return found if found.info.lifecycle_stage == "active" and found.info.status != "FINISHED" else None


def _send_left(client: MlflowClient, run: TrackedRun) -> None:
    """Send what the run kept before, which includes how it ended."""
    outbox = Outbox(run.folder)
    if not outbox.is_empty():
        with outbox.owned(wait=True):
            send_kept(client, run, outbox)


def start_run(params: RunParams, name: str, tags: Mapping[str, str]) -> TrackedRun:
    """Create an empty run, and its experiment if necessary."""
    uri = params.tracking_uri
    make_ready(uri)
    with open_client(uri) as client:
        experiment_id = _experiment(client, params)
        share_view(client, experiment_id, params.best_metric)
        created = client.create_run(experiment_id, tags=tags_of(name) | dict(tags), run_name=name)
    return TrackedRun(uri, experiment_id, created.info.run_id, params.workspace / "runs" / created.info.run_id)


def _end_early(run: TrackedRun, status: str, reason: str) -> None:
    """End a run that did not finish; if the store fails too, only log that, so that the original error is raised."""
    try:
        log_tags(run, {"error": reason})
        _end(run, status)
    except AudioclsError as error:
        logger.warning("run %s could not be marked as %s: %s", run.run_id, status, error)


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
