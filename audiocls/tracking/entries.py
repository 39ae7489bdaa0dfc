"""What a run logs: metrics, params, tags, files, its data and its child runs."""

from __future__ import annotations

import getpass
import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from mlflow.utils.mlflow_tags import (
    MLFLOW_GIT_COMMIT,
    MLFLOW_RUN_NAME,
    MLFLOW_RUN_NOTE,
    MLFLOW_SOURCE_NAME,
    MLFLOW_USER,
)

from audiocls.files import masked, masked_values
from audiocls.params import RunParams
from audiocls.params_file import dump_params
from audiocls.progress import progress_bar
from audiocls.tracking.delivery import deliver
from audiocls.tracking.environment import describe_environment, git_revision
from audiocls.tracking.names import fit_names, flatten, safe
from audiocls.tracking.records import dataset_record
from audiocls.tracking.run import NestedRun, TrackedRun

# MLflow's limits: characters of a parameter's value and of a dataset digest.
_LONGEST_PARAM: Final = 6_000
_LONGEST_DIGEST: Final = 36


def log_params(run: TrackedRun, params: RunParams) -> None:
    """Log the params, the environment and the resolved YAML, which has values that are too long for a param in full."""
    flat = flatten(masked_values(params.model_dump(mode="json")))
    values = {fit: flat[key][:_LONGEST_PARAM] for key, fit in fit_names(flat).items()}
    deliver(run, {"kind": "batch", "params": values})
    _log_text(run, masked(dump_params(params)), "params.yaml")
    _log_text(run, json.dumps(describe_environment(), indent=2), "environment.json")


def log_metrics(run: TrackedRun, metrics: Mapping[str, float], step: int = 0) -> None:
    """Log metrics.

    Characters that MLflow rejects in a name become `_`; names that would then collide get another `_` each.
    """
    deliver(run, _metrics_record(metrics, step))


def _metrics_record(metrics: Mapping[str, float], step: int = 0) -> dict[str, Any]:
    values = {fit: float(metrics[name]) for name, fit in fit_names(metrics).items()}
    return {"kind": "batch", "metrics": values, "step": step, "time": now()}


def now() -> int:
    """Return the time as MLflow writes it, in milliseconds."""
    return int(time.time() * 1000)


def log_nested_runs(run: TrackedRun, nested: Iterable[NestedRun]) -> None:
    """Log child runs of a run.

    Finished child runs of the same name are kept: they were logged before the run was killed and resumed.
    """
    new = list(nested)
    with progress_bar("uploading", len(new), "runs") as bar:
        for each in new:
            params = {safe(name): text[:_LONGEST_PARAM] for name, text in flatten(each.params).items()}
            record = {"name": each.name, "run_tags": tags_of(each.name), "path": str(each.balance_files)}
            deliver(run, _metrics_record(each.metrics) | record | {"kind": "nested", "params": params})
            bar.advance(1)


def log_tags(run: TrackedRun, tags: Mapping[str, str]) -> None:
    """Set tags on the run."""
    deliver(run, {"kind": "batch", "tags": dict(tags)})


def describe_run(run: TrackedRun, markdown: str) -> None:
    """Set the description on the run's page."""
    log_tags(run, {MLFLOW_RUN_NOTE: markdown})


def log_artifacts(run: TrackedRun, path: Path, folder: str | None = None) -> None:
    """Copy a file, or the contents of a directory, to the run's artifacts."""
    deliver(run, {"kind": "files", "path": str(path.absolute()), "target": folder})


def log_json(run: TrackedRun, value: Any, name: str) -> None:
    """Write a value as JSON to the run's artifacts."""
    _log_text(run, json.dumps(value, indent=2, ensure_ascii=False), name)


def _log_text(run: TrackedRun, text: str, name: str) -> None:
    deliver(run, {"kind": "text", "text": text, "name": name})


def log_dataset(
    run: TrackedRun, source: Path, name: str, digest: str, profile: Mapping[str, int], context: str = "training"
) -> None:
    """Log the dataset of the run and what it is used for, so that runs on the same data can be identified."""
    deliver(run, dataset_record(source, name, digest[:_LONGEST_DIGEST], profile, context))
    log_tags(run, {"data.digest": digest})


def tags_of(name: str) -> dict[str, str]:
    """Return the tags that name a run, its user and its revision of this code."""
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
