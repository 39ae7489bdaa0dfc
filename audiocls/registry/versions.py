"""Versions of registered models, and what MLflow says of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode

from audiocls.errors import ParamsError
from audiocls.files import masked
from audiocls.tracking import make_ready, open_client

CHAMPION: Final = "champion"
CHALLENGER: Final = "challenger"
PREVIOUS: Final = "previous"


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a registered model: the model of a run."""

    name: str
    number: int
    run_id: str
    tags: Mapping[str, str]
    registered_at: datetime

    @property
    def uri(self) -> str:
        """What `Classifier.load` and MLflow load it by."""
        return f"models:/{self.name}/{self.number}"


@contextmanager
def open_registry(uri: str) -> Iterator[MlflowClient]:
    """Yield a client of the store's model registry.

    Raises:
        TrackingError: The store cannot be used.
    """
    make_ready(uri)
    with open_client(uri) as client:
        yield client


def find_version(client: MlflowClient, name: str, number: int) -> Version:
    """Return a version of a model.

    Raises:
        ParamsError: There is no such version.
    """
    try:
        return _version(client.get_model_version(name, str(number)))
    except MlflowException as error:
        if not _is_missing(error):
            raise
        numbers = [each.number for each in versions_of(client, name)]
        has = f"its versions are {', '.join(map(str, numbers))}" if numbers else "it is not registered"
        raise ParamsError(f"{name}: there is no version {number}; {has}.") from error


def versions_of(client: MlflowClient, name: str) -> list[Version]:
    """Return all versions of a model, the oldest first."""
    found, token = [], None
    while True:
        page = client.search_model_versions(f"name = '{name}'", page_token=token)
        found += [_version(each) for each in page]
        token = page.token
        if not token:
            return sorted(found, key=lambda each: each.number)


def aliases_of(client: MlflowClient, name: str) -> dict[str, int]:
    """Return the version number of each alias; empty if the model is not registered."""
    try:
        return {alias: int(number) for alias, number in client.get_registered_model(name).aliases.items()}
    except MlflowException as error:
        if _is_missing(error):
            return {}
        raise


def add_version(client: MlflowClient, name: str, run_id: str, tags: Mapping[str, str]) -> Version:
    """Register the model that a run logged as the next version; a run's model that is registered is returned as it is.

    Raises:
        ParamsError: The run has no model, or the store does not know the run.
    """
    for each in versions_of(client, name):
        if each.run_id == run_id:
            return each
    source = _logged_model(client, run_id)
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    made = client.create_model_version(
        name, source.artifact_location, run_id, tags=dict(tags), model_id=source.model_id
    )
    return _version(made)


def _logged_model(client: MlflowClient, run_id: str) -> Any:
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if not _is_missing(error):
            raise
        raise ParamsError(f"{run_id}: {masked(client.tracking_uri)} knows no such run.") from error
    found = [
        model
        for model in client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run_id}'")
        if str(model.status) == "READY"
    ]
    if not found:
        raise ParamsError(f"run {run_id} has no model; only a finished training run can be registered.")
    return found[0]


def _version(found: Any) -> Version:
    registered_at = datetime.fromtimestamp(found.creation_timestamp / 1_000, UTC)
    return Version(found.name, int(found.version), found.run_id, dict(found.tags), registered_at)


def _is_missing(error: MlflowException) -> bool:
    return bool(error.error_code == ErrorCode.Name(RESOURCE_DOES_NOT_EXIST))
