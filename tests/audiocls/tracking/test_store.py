"""First runs on a new workspace, databases that are locked or full, and servers that are gone."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow_server import free_port
from sqlalchemy import event
from sqlalchemy.engine import Engine

from audiocls import tracking
from audiocls.errors import FullDiskError, UnreachableError
from audiocls.params.run import RunParams
from audiocls.tracking.client import open_client

FORK = multiprocessing.get_context("fork")


def params_of(workspace: Path, seed: int = 1) -> RunParams:
    return RunParams.model_validate({"workspace": str(workspace), "seed": seed, "data": {"source": "sample"}})


@contextmanager
def before_each_statement(react):
    """Call `react(statement)` in this process before SQLAlchemy sends a statement to a database."""

    def listener(connection, cursor, statement, parameters, context, executemany):
        return react(statement) or statement, parameters

    event.listen(Engine, "before_cursor_execute", listener, retval=True)
    try:
        yield
    finally:
        event.remove(Engine, "before_cursor_execute", listener)


# The first use of a workspace


def test_first_runs_that_start_at_once_on_a_new_workspace_all_end_well(tmp_path):
    barrier = FORK.Barrier(4)

    def open_run(seed):
        barrier.wait()
        with tracking.tracked_run(params_of(tmp_path / "new", seed), f"run {seed}", {}) as run:
            tracking.log_metrics(run, {"loss": float(seed)})

    processes = [FORK.Process(target=open_run, args=(seed,)) for seed in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0, 0]
    client = MlflowClient(params_of(tmp_path / "new").tracking_uri)
    (experiment,) = client.search_experiments(filter_string="name = 'audiocls'")
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(run.data.metrics["loss"] for run in runs) == [0.0, 1.0, 2.0, 3.0]
    assert {run.info.status for run in runs} == {"FINISHED"}


def test_a_first_run_that_is_killed_in_the_migrations_leaves_a_workspace_that_works(tmp_path):
    def be_killed(statement):
        if "ADD COLUMN step" in statement:
            os.kill(os.getpid(), signal.SIGKILL)

    def open_run():
        with before_each_statement(be_killed):
            tracking.start_run(params_of(tmp_path), "killed", {})

    process = FORK.Process(target=open_run)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    with tracking.tracked_run(params_of(tmp_path), "next", {}) as run:
        pass
    assert MlflowClient(run.uri).get_run(run.run_id).info.status == "FINISHED"
    assert sorted(path.name for path in tmp_path.glob("*mlflow.db*")) == ["mlflow.db", "mlflow.db.lock"]


# Databases that are locked or full


@pytest.fixture(scope="module")
def workspace(tracked_workspace, tmp_path_factory):
    return tracked_workspace(tmp_path_factory.mktemp("workspace"))


def test_a_database_that_another_program_keeps_locked_is_tried_again(workspace, monkeypatch):
    run = tracking.start_run(params_of(workspace), "locked", {})
    other = sqlite3.connect(workspace / "mlflow.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    waits = []

    def release(seconds):
        waits.append(seconds)
        other.close()

    monkeypatch.setattr(time, "sleep", release)
    # MLflow has SQLite wait for 20 s before it says so.
    with before_each_statement(lambda text: "PRAGMA busy_timeout = 1;" if "busy_timeout" in text else None):
        tracking.log_metrics(run, {"loss": 1.0})
    assert len(waits) == 1
    assert MlflowClient(run.uri).get_run(run.run_id).data.metrics == {"loss": 1.0}


def test_a_disk_without_space_for_the_database_is_said_in_one_sentence(workspace):
    run = tracking.start_run(params_of(workspace), "full", {})

    def no_space(connection, cursor, statement, parameters, context, executemany):
        cursor.execute("PRAGMA max_page_count = 1")  # SQLite then takes what is there, and not a page more

    event.listen(Engine, "before_cursor_execute", no_space)
    try:
        with pytest.raises(FullDiskError, match=rf"^{workspace}: .*disk is full while .* Make room") as raised:
            tracking.describe_run(run, "long " * 1_000)
    finally:
        event.remove(Engine, "before_cursor_execute", no_space)
    assert "\n" not in str(raised.value)


# Servers that are gone


def wait_for_a_gone_server(monkeypatch) -> list[float]:
    """Return the waits of a call to a server that is gone."""
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    uri = f"http://127.0.0.1:{free_port()}"
    expected = rf"^tracking\.uri = {uri}: MLflow failed: "
    with pytest.raises(UnreachableError, match=expected) as raised, open_client(uri) as client:
        client.get_run("none")
    assert "\n" not in str(raised.value)
    return waits


def test_a_server_that_is_gone_is_waited_for_as_long_as_a_restart_takes_and_no_longer(monkeypatch):
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    assert 30 < sum(wait_for_a_gone_server(monkeypatch)) < 90


def test_whoever_sets_mlflows_retries_decides(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert wait_for_a_gone_server(monkeypatch) == []
