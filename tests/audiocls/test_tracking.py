"""The same assertions on a SQLite store and on a real MLflow server."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from mlflow import MlflowClient

from audiocls import tracking
from audiocls.errors import TrackingError
from audiocls.params import RunParams
from audiocls.params_file import load_params


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    uri = f"http://127.0.0.1:{free_port()}"
    process = subprocess.Popen(
        [
            sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", uri.rsplit(":", 1)[1],
            "--workers", "1", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db",
            "--artifacts-destination", str(folder / "artifacts"),
        ],
        env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    for _ in range(240):
        try:
            urllib.request.urlopen(f"{uri}/health", timeout=1).close()
            break
        except OSError:
            assert process.poll() is None, "the MLflow server ended"
            time.sleep(0.5)
    yield uri
    os.killpg(process.pid, signal.SIGTERM)
    process.wait(timeout=30)


@pytest.fixture(scope="module")
def sqlite(tmp_path_factory):
    """The workspace's own store, with its migrations done once."""
    return tmp_path_factory.mktemp("workspace")


@pytest.fixture(params=["sqlite", "server"])
def params(request, sqlite, tmp_path) -> RunParams:
    uri = None if request.param == "sqlite" else request.getfixturevalue("server")
    return RunParams.model_validate(
        {
            "experiment": "tracking tests",
            "workspace": str(sqlite),
            "data": {"source": "folder", "path": "recordings"},
            "model": {"config": {"channels": [4, 8], "note": "x" * 7_000}},
            "tracking": {"uri": uri},
        }
    )


@pytest.fixture
def client(params) -> MlflowClient:
    return MlflowClient(params.tracking_uri)


def test_a_run_holds_params_tags_and_environment(params, client, tmp_path):
    with tracking.tracked_run(params, "a run", {"prefect.flow_run_id": "123"}) as run:
        assert client.get_run(run.run_id).info.status == "RUNNING"
    found = client.get_run(run.run_id)
    assert found.info.status == "FINISHED"
    assert found.info.run_name == "a run"
    assert found.data.params["training.batch_size"] == "16"
    assert found.data.params["model.config.channels"] == "[4, 8]"
    assert found.data.tags["prefect.flow_run_id"] == "123"
    environment = json.loads(Path(client.download_artifacts(run.run_id, "environment.json", str(tmp_path))).read_text())
    assert "torch" in environment["packages"]


def test_the_yaml_holds_whole_what_is_too_long_for_a_param(params, client, tmp_path):
    with tracking.tracked_run(params, "long", {}) as run:
        pass
    assert len(client.get_run(run.run_id).data.params["model.config.note"]) == 6_000
    text = Path(client.download_artifacts(run.run_id, "params.yaml", str(tmp_path))).read_text()
    assert "x" * 7_000 in text.replace("\n", "").replace(" ", "")


def test_metrics_keep_their_steps_and_odd_class_names_are_made_fit(params, client):
    with tracking.tracked_run(params, "metrics", {}) as run:
        tracking.log_metrics(run, {"train/loss": 0.5, "train/learning_rate": 0.1}, step=10)
        tracking.log_metrics(run, {"train/loss": 0.25}, step=20)
        tracking.log_metrics(run, {"test/f1/C# (sharp)": 1.0, "test/f1/né": 0.5})
    history = {m.step: m.value for m in client.get_metric_history(run.run_id, "train/loss")}
    assert history == {10: 0.5, 20: 0.25}
    assert client.get_run(run.run_id).data.metrics["test/f1/C_ _sharp_"] == 1.0
    assert client.get_run(run.run_id).data.metrics["test/f1/né"] == 0.5


def test_more_metrics_than_one_call_takes_are_all_logged(params, client):
    with tracking.tracked_run(params, "many", {}) as run:
        tracking.log_metrics(run, {f"test/f1/class-{i}": i for i in range(1_001)})
    assert len(client.get_run(run.run_id).data.metrics) == 1_001


def test_files_folders_and_json_become_artifacts(params, client, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_bytes(b"\x00\x01")
    (tmp_path / "table.csv").write_text("a,b\n")
    with tracking.tracked_run(params, "artifacts", {}) as run:
        tracking.log_artifacts(run, tmp_path / "model", "model")
        tracking.log_artifacts(run, tmp_path / "table.csv", "data")
        tracking.log_json(run, {"ä": 1}, "data/counts.json")
    out = Path(client.download_artifacts(run.run_id, "", str(tmp_path)))
    assert (out / "model" / "weights").read_bytes() == b"\x00\x01"
    assert (out / "data" / "table.csv").read_text() == "a,b\n"
    assert json.loads((out / "data" / "counts.json").read_text()) == {"ä": 1}


def test_the_data_set_is_an_input_with_its_digest(params, client, tmp_path):
    digest = "0123456789abcdef" * 4
    with tracking.tracked_run(params, "data", {}) as run:
        tracking.log_dataset(run, tmp_path / "clips.parquet", "clips", digest, {"clips": 7})
    found = client.get_run(run.run_id)
    (entry,) = found.inputs.dataset_inputs
    assert entry.dataset.digest == digest[:36]
    assert json.loads(entry.dataset.profile) == {"clips": 7}
    assert found.data.tags["data.digest"] == digest


def test_a_failed_run_says_why(params, client):
    with pytest.raises(ZeroDivisionError), tracking.tracked_run(params, "fails", {}) as run:
        raise ZeroDivisionError("no clips")
    found = client.get_run(run.run_id)
    assert found.info.status == "FAILED"
    assert found.data.tags["error"] == "no clips"


def test_an_interrupted_run_is_killed(params, client):
    with pytest.raises(KeyboardInterrupt), tracking.tracked_run(params, "interrupted", {}) as run:
        raise KeyboardInterrupt
    assert client.get_run(run.run_id).info.status == "KILLED"


def test_a_description_is_the_note_of_the_run(params, client):
    with tracking.tracked_run(params, "described", {}) as run:
        tracking.describe_run(run, "**good**")
    assert client.get_run(run.run_id).data.tags["mlflow.note.content"] == "**good**"


def test_only_a_server_has_an_address(params):
    run = tracking.TrackedRun(params.tracking_uri, "1", "abc", Path("runs/abc"))
    if params.tracking.uri:
        assert run.url == f"{params.tracking.uri}/#/experiments/1/runs/abc"
    else:
        assert run.url is None


def test_a_deleted_experiment_is_named(params, client):
    gone = params.model_copy(update={"experiment": "gone"})
    with tracking.tracked_run(gone, "first", {}) as run:
        pass
    client.delete_experiment(run.experiment_id)
    with pytest.raises(TrackingError, match="experiment = gone: it was deleted"):
        tracking.start_run(gone, "second", {})


def test_artifacts_of_a_database_file_lie_in_the_workspace(sqlite, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    params = RunParams.model_validate(
        {"experiment": "here", "workspace": str(sqlite), "data": {"source": "folder", "path": "x"}}
    )
    with tracking.tracked_run(params, "here", {}) as run:
        tracking.log_json(run, 1, "one.json")
    assert (sqlite / "mlartifacts" / "here" / run.run_id / "artifacts" / "one.json").exists()
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_does_not_answer_is_told_at_once(tmp_path):
    params = RunParams.model_validate(
        {
            "workspace": str(tmp_path),
            "data": {"source": "folder", "path": "x"},
            "tracking": {"uri": f"http://127.0.0.1:{free_port()}"},
        }
    )
    with pytest.raises(TrackingError, match="no MLflow server answers there"):
        tracking.start_run(params, "nobody", {})


def test_the_logged_yaml_is_the_run_again(sqlite, tmp_path):
    params = RunParams.model_validate({"workspace": str(sqlite), "data": {"source": "folder", "path": "x"}, "seed": 5})
    with tracking.tracked_run(params, "again", {}) as run:
        pass
    logged = MlflowClient(params.tracking_uri).download_artifacts(run.run_id, "params.yaml", str(tmp_path))
    assert load_params(logged) == params
