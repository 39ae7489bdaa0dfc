"""What is sent to MLflow: each record is ready for JSON, and sending it twice is the same as sending it once."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from audiocls.tracking.logged_models import send_model
from audiocls.tracking.outbox import Record
from audiocls.tracking.run import TrackedRun
from audiocls.tracking.uploads import upload_folder

# MLflow's limits for one call.
_MOST_METRICS, _MOST_PARAMS = 1_000, 100


def send(client: Any, run: TrackedRun, record: Record) -> None:
    """Send one record of a run."""
    _SENDERS[record["kind"]](client, run, record)


def _send_batch(client: Any, run: TrackedRun, record: Record) -> None:
    log_batches(client, run.run_id, record)


def log_batches(client: Any, run_id: str, record: Record) -> None:
    """Log metrics, params and tags in batches of the size that MLflow accepts."""
    metrics = [Metric(key, value, record["time"], record["step"]) for key, value in record.get("metrics", {}).items()]
    params = [Param(key, value) for key, value in record.get("params", {}).items()]
    for part in _parts(metrics, _MOST_METRICS):
        client.log_batch(run_id, metrics=part)
    for part in _parts(params, _MOST_PARAMS):
        client.log_batch(run_id, params=part)
    if "tags" in record:
        client.log_batch(run_id, tags=[RunTag(key, value) for key, value in record["tags"].items()])


def _parts(entries: Sequence[Any], most: int) -> list[Sequence[Any]]:
    return [entries[start : start + most] for start in range(0, len(entries), most)]


def _send_text(client: Any, run: TrackedRun, record: Record) -> None:
    client.log_text(run.run_id, record["text"], record["name"])


def _send_files(client: Any, run: TrackedRun, record: Record) -> None:
    path = run.folder / record["path"]
    if path.is_dir():
        upload_folder(path, partial(client.log_artifact, run.run_id), record["target"])
    else:
        client.log_artifact(run.run_id, str(path), record["target"])


def _send_dataset(client: Any, run: TrackedRun, record: Record) -> None:
    context = record.get("context", "training")  # records of earlier versions have none
    dataset = Dataset(record["name"], record["digest"], "local", record["source"], profile=record["profile"])
    client.log_inputs(run.run_id, datasets=[DatasetInput(dataset, [InputTag("mlflow.data.context", context)])])


def _send_nested(client: Any, run: TrackedRun, record: Record) -> None:
    """Log a child run; keep a finished one of the same name, and complete an unfinished one."""
    below = client.search_runs([run.experiment_id], f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{run.run_id}'")
    same = [found.info for found in below if found.info.run_name == record["name"]]
    if any(info.status == "FINISHED" for info in same):
        return
    tags = dict(record["run_tags"]) | {MLFLOW_PARENT_RUN_ID: run.run_id}
    info = same[0] if same else client.create_run(run.experiment_id, tags=tags, run_name=record["name"]).info
    log_batches(client, info.run_id, record)
    client.log_artifacts(info.run_id, str(run.folder / record["path"]), "data/balance")
    client.set_terminated(info.run_id, "FINISHED")


def _send_model(client: Any, run: TrackedRun, record: Record) -> None:
    send_model(client, run, Path(run.folder / record["path"]), record["metrics"], record["step"], record["tags"])


def _send_end(client: Any, run: TrackedRun, record: Record) -> None:
    client.set_terminated(run.run_id, record["status"], record["time"])


_SENDERS: Final[Mapping[str, Callable[[Any, TrackedRun, Record], None]]] = {
    "batch": _send_batch,
    "text": _send_text,
    "files": _send_files,
    "dataset": _send_dataset,
    "nested": _send_nested,
    "model": _send_model,
    "end": _send_end,
}


def dataset_record(source: Path, name: str, digest: str, profile: Mapping[str, int], context: str) -> Record:
    """Return the record of a dataset of the run."""
    where = json.dumps({"uri": source.absolute().as_uri()})
    return {"kind": "dataset", "name": name, "digest": digest, "source": where, "profile": json.dumps(profile)} | {
        "context": context
    }
