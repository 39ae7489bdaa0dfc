"""Preparation of the MLflow store: check that the server answers, or create the database in one process."""

from __future__ import annotations

import base64
import functools
import random
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from filelock import FileLock, Timeout

from audiocls.errors import TrackingError, UnreachableError
from audiocls.files import masked, without_user

_PROBE_SECONDS: Final = 5
# MLflow's migrations take 3 s on an idle machine and 20 s on a busy one.
_CREATION_SECONDS: Final = 300
# Before each of them, SQLite has waited 20 s for a lock, as MLflow sets it up.
_LOCKED_WAITS_SECONDS: Final = (1.0, 2.0, 4.0, 8.0)


def is_server(uri: str) -> bool:
    """Return whether runs are written to an MLflow server and not to a database."""
    return urlsplit(uri).scheme in ("http", "https")


def probe(uri: str) -> None:
    """Check once whether a server answers; MLflow's own client retries for a minute before it gives up.

    Raises:
        UnreachableError: It does not answer.
    """
    address, user = without_user(uri)
    request = urllib.request.Request(f"{address.rstrip('/')}/health")
    if user is not None:
        request.add_header("Authorization", f"Basic {base64.b64encode(unquote(user).encode()).decode()}")
    try:
        with urllib.request.urlopen(request, timeout=_PROBE_SECONDS):
            pass
    except (OSError, HTTPException) as error:
        if isinstance(error, urllib.error.HTTPError) and error.code < 500:
            return  # It answers; some hosted servers have no /health.
        raise UnreachableError(
            f"tracking.uri = {masked(uri)}: no MLflow server answers there ({error}). Start it, or remove tracking.uri "
            "to write to SQLite in the workspace."
        ) from error


def create_database(file: Path, migrate: Callable[[str], None]) -> None:
    """Create an SQLite store if it does not exist; one process creates it, and others wait for it.

    MLflow's migrations are not transactions: two processes that run them on one file make each other fail, and a killed
    one leaves a database that MLflow may not open. They therefore run under a lock, on a hidden file that is renamed at
    the end.

    Args:
        file: Path of the database. `<name>.lock` is created beside it.
        migrate: Runs MLflow's migrations on the database of a URI, and closes it.
    """
    if file.exists():
        return
    with _locked(file):
        if file.exists():
            return
        part = file.with_name(f".{file.name}.part")
        for left in (part, part.with_name(f"{part.name}-journal")):  # left by a killed process
            left.unlink(missing_ok=True)
        try:
            migrate(f"sqlite:///{part.absolute()}")
            if not file.exists():  # other programs, such as `mlflow server`, do not use the lock
                part.rename(file)
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(file.with_name(f"{file.name}.lock"), timeout=_CREATION_SECONDS)
    try:
        with lock:
            yield
    except Timeout as error:
        raise TrackingError(
            f"{file}: another process has been creating this database for {_CREATION_SECONDS} s. End it and try again."
        ) from error


class PatientClient:
    """An MlflowClient that retries while another process keeps the SQLite database locked.

    A transaction that does not get the lock is rolled back, so a call can be repeated.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return functools.partial(self._call, getattr(self._client, name))

    def _call(self, method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        for seconds in _LOCKED_WAITS_SECONDS:
            try:
                return method(*arguments, **options)
            except Exception as error:
                if "database is locked" not in str(error):
                    raise
            time.sleep(seconds * random.uniform(0.5, 1.0))
        return method(*arguments, **options)
