"""MLflow's client, with bounded waits and errors that name the store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import requests
from mlflow import MlflowClient
from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_MAX_RETRIES
from mlflow.exceptions import MlflowException, RestException
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy.exc import SQLAlchemyError

from audiocls.errors import TrackingError, UnreachableError
from audiocls.files import database_file, full_disk, is_full, masked
from audiocls.tracking.store import PatientClient, create_database, is_server, probe

# Waits of 0, 4, 8, 16 and 32 s leave time to restart a server; MLflow's default of 7 retries would wait 4 minutes per
# call. The environment variable takes precedence.
_HTTP_RETRIES: Final = 5
# Immediate: a server closes idle connections, which looks like an outage.
_QUICK_RETRIES: Final = 1
# Errors that MLflow passes on: those of the database, a disk or a network, and a driver that is not installed.
_STORE_ERRORS: Final = (MlflowException, SQLAlchemyError, OSError, ImportError)
_LOST_CONNECTIONS: Final = (
    requests.ConnectionError, requests.Timeout, requests.exceptions.RetryError,
    requests.exceptions.ChunkedEncodingError, ConnectionError, TimeoutError,
)  # fmt: skip
_BUSY: Final = (408, 429)


def make_ready(uri: str) -> None:
    """Check that the server answers, or create the database, before MLflow's client waits for it for long."""
    if is_server(uri):
        probe(uri)
        return
    file = database_file(uri)
    if file is not None:
        with tracking_errors(uri):
            create_database(file, _migrate)


def _migrate(uri: str) -> None:
    """Create all tables of an SQLite database, and close it."""
    SqlAlchemyStore(uri, "mlruns").engine.dispose()  # no run of ours stores its artifacts there


@contextmanager
def open_client(uri: str) -> Iterator[MlflowClient]:
    """Yield a client that raises TrackingErrors and waits a limited time for a lost server or a locked database."""
    if not MLFLOW_HTTP_REQUEST_MAX_RETRIES.is_set():
        MLFLOW_HTTP_REQUEST_MAX_RETRIES.set(_HTTP_RETRIES)
    with tracking_errors(uri):
        yield PatientClient(MlflowClient(uri))


@contextmanager
def open_quick_client(uri: str) -> Iterator[MlflowClient]:
    """Yield a client that does not wait for a lost server.

    Raises:
        UnreachableError: The server does not answer.
    """
    if is_server(uri):
        probe(uri)  # A server that hangs would keep MLflow's client waiting for minutes.
    before = MLFLOW_HTTP_REQUEST_MAX_RETRIES.get_raw()
    MLFLOW_HTTP_REQUEST_MAX_RETRIES.set(_QUICK_RETRIES)
    try:
        with tracking_errors(uri):
            yield PatientClient(MlflowClient(uri))
    finally:
        if before is None:
            MLFLOW_HTTP_REQUEST_MAX_RETRIES.unset()
        else:
            MLFLOW_HTTP_REQUEST_MAX_RETRIES.set(before)


@contextmanager
def tracking_errors(uri: str) -> Iterator[None]:
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
        kind = UnreachableError if is_server(uri) and _is_lost(error) else TrackingError
        raise kind(f"tracking.uri = {masked(uri)}: MLflow failed: {masked(text)}") from cause


def _one_line(error: Exception) -> str:
    """Remove the statement and the values that SQLAlchemy appends to a database error."""
    return " ".join(str(error).partition("\n[SQL:")[0].split())


def _is_lost(error: BaseException | None) -> bool:
    """Return whether a server could not be reached, or answered with an error of its own and not of the request.

    MLflow raises a lost connection as an error of its own, with the cause as the context.
    """
    if error is None:
        return False
    if isinstance(error, RestException):
        return _is_servers_own(error.get_http_status_code())
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return _is_servers_own(error.response.status_code)
    return isinstance(error, _LOST_CONNECTIONS) or _is_lost(error.__cause__ or error.__context__)


def _is_servers_own(status: int) -> bool:
    return status >= 500 or status in _BUSY
