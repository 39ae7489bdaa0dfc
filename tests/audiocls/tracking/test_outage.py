"""An MLflow server that is killed in the middle of a training: the same command resumes the same run."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import zlib
from pathlib import Path

import pytest
from mlflow import MlflowClient

from audiocls import tracking
from audiocls.balance.selection import balance
from audiocls.errors import DataError, FullDiskError, StoreError, TrackingError, TrainingError
from audiocls.params.run import RunParams
from audiocls.sources.manifest import list_clips
from audiocls.splits.assignment import assign_splits
from audiocls.splits.prepared_data import PreparedData
from audiocls.training.run import fit
from audiocls.waveforms.corpus import collect_corpus
from audiocls.waveforms.shards import write_shard
from audiocls.waveforms.store import plan_store

STEPS_PER_EPOCH = 9


class Server:
    """A real MLflow server on an SQLite database that is there, which can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self.folder = folder

    def start(self) -> None:
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port),
                "--workers", "1", "--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db",
                "--artifacts-destination", str(self.folder / "artifacts"),
            ],
            env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        while True:
            try:
                urllib.request.urlopen(f"{self.uri}/health", timeout=5).close()
            except OSError:
                assert self.process.poll() is None, "the MLflow server ended"
                time.sleep(0.2)
            else:
                return

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def prepare(params: RunParams):
    """Everything before the fit: (split clips, balanced, store)."""
    workspace = params.workspace
    manifest = list_clips(params.data, workspace)
    plan = plan_store(manifest, params.audio, workspace)
    for shard in plan.shards:
        write_shard(shard, params.audio)
    corpus = collect_corpus(manifest, plan, workspace)
    splits = assign_splits(corpus.clips, params.split, params.seed, workspace)
    return splits, balance(splits, params.balance, params.seed, workspace), corpus.store


def test_a_server_killed_during_fit_ends_the_run_and_the_same_command_resumes_it(
    tones, tracked_workspace, tmp_path, monkeypatch, caplog
):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    server = Server(tracked_workspace(tmp_path / "server"))
    server.start()
    params = RunParams.model_validate(
        {
            "workspace": str(tmp_path / "workspace"),
            "data": {"source": "folder", "path": str(tones), "group_by": "file"},
            "audio": {"max_seconds": 0.2},
            "model": {"config": {"channels": [4, 8]}},
            "training": {"epochs": 3, "batch_size": 4},
            "tracking": {"uri": server.uri},
        }
    )
    splits, balanced, store = prepare(params)
    logged: list[tuple[int, list[str]]] = []

    def train(kill_at_step: int | None) -> str:
        with tracking.tracked_run(params, "a run", {}) as run:

            def log(metrics, step):
                if kill_at_step is not None and step >= kill_at_step:
                    server.kill()
                tracking.log_metrics(run, metrics, step)
                logged.append((step, sorted(metrics)))

            fit(PreparedData(splits, store, params), balanced, run.folder, log)
        return run.run_id

    with pytest.raises(TrackingError, match=rf"^tracking\.uri = {server.uri}: MLflow failed: ") as raised:
        train(kill_at_step=STEPS_PER_EPOCH + 1)
    assert "\n" not in str(raised.value)
    assert "could not be marked as FAILED" in caplog.text
    last_step = logged[-1][0]
    assert last_step >= STEPS_PER_EPOCH  # the first epoch was logged, and its checkpoint is there
    logged.clear()
    server.start()
    try:
        run_id = train(kill_at_step=None)
        client = MlflowClient(server.uri)
        (found,) = client.search_runs([client.get_experiment_by_name("audiocls").experiment_id])
        assert found.info.run_id == run_id
        assert found.info.status == "FINISHED"
        assert "error" not in found.data.tags
        steps = {metric.step for metric in client.get_metric_history(run_id, "validation/loss")}
        assert steps == {STEPS_PER_EPOCH, 2 * STEPS_PER_EPOCH, 3 * STEPS_PER_EPOCH}
    finally:
        server.kill()
    assert min(step for step, names in logged if "train/loss" in names) > STEPS_PER_EPOCH


# Which failures a run goes on after


def end_by(error: BaseException, params: RunParams) -> str:
    """Open a run, raise in it, and return its id."""
    opened = tracking.tracked_run(params, "ends early", {})
    run = opened.__enter__()
    assert not opened.__exit__(type(error), error, None)
    return run.run_id


@pytest.fixture(scope="module")
def workspace(tracked_workspace, tmp_path_factory):
    return tracked_workspace(tmp_path_factory.mktemp("workspace"))


class ConnectError(Exception):
    """What an HTTP client raises where the server of the flow engine is gone; no OSError."""


@pytest.mark.parametrize(
    ("error", "goes_on"),
    [
        (TrackingError("the server is away"), True),
        (StoreError("a shard is damaged"), True),
        (FullDiskError("no space"), True),
        (OSError(5, "Input/output error"), True),
        (MemoryError(), True),
        (RuntimeError("DataLoader worker is killed by signal: Killed."), True),
        (ConnectError("All connection attempts failed"), True),
        (KeyboardInterrupt(), True),
        (TrainingError("the loss is non-finite"), False),
        (DataError("a class has no clips"), False),
        (ZeroDivisionError("a fault of the code"), False),
        (ValueError("a fault of the code"), False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_a_run_goes_on_after_what_came_from_outside_and_after_nothing_else(error, goes_on, workspace):
    seed = zlib.crc32(repr(error).encode())
    params = RunParams.model_validate({"workspace": str(workspace), "seed": seed, "data": {"source": "sample"}})
    run_id = end_by(error, params)
    with tracking.tracked_run(params, "again", {}) as run:
        assert (run.run_id == run_id) is goes_on
    found = MlflowClient(params.tracking_uri).get_run(run.run_id)
    assert found.info.status == "FINISHED"
    assert "error" not in found.data.tags
