"""An MLflow server that goes away for good while a command trains, and what `audiocls sync` brings later."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from flow_runs import run_flow
from mlflow import MlflowClient
from mlflow_server import MlflowServer

from audiocls import tracking
from audiocls.evaluation.metric_names import headline_first
from flows.cli import main
from flows.train import train_flow


@pytest.fixture
def server(tmp_path):
    (tmp_path / "server").mkdir()
    started = MlflowServer(tmp_path / "server")
    started.start()
    yield started
    started.kill()


def kill_at_first_loss(server: MlflowServer, monkeypatch) -> None:
    log_metrics = tracking.log_metrics

    def log(run, metrics, step=0):
        if "train/loss" in metrics:
            server.kill()
        log_metrics(run, metrics, step)

    monkeypatch.setattr(tracking, "log_metrics", log)


@pytest.mark.usefixtures("prefect_server")
def test_a_run_without_its_server_succeeds_and_sync_brings_it_to_mlflow(tones, tmp_path, server, monkeypatch, capsys):
    params = {
        "experiment": "tones",
        "workspace": str(tmp_path / "workspace"),
        "data": {"source": "folder", "path": str(tones), "group_by": "file"},
        "audio": {"max_seconds": 0.3},
        "model": {"config": {"channels": [8, 16]}},
        "training": {"epochs": 2, "batch_size": 4},
    }
    file = tmp_path / "tones.yaml"
    file.write_text(yaml.safe_dump(params))
    at = f"tracking.uri={server.uri}"
    kill_at_first_loss(server, monkeypatch)

    assert run_flow(train_flow, [str(file), at, "seed=3"]) == 0
    said = capsys.readouterr()
    result = json.loads(said.out.splitlines()[-1])
    kept = result["unsent"]
    assert kept["records"] > 5  # metrics, tags, the model, the evaluation, the description and the end
    assert Path(kept["folder"]) == tmp_path / "workspace" / "runs" / result["run_id"] / "outbox"
    words = "".join(said.err.split())  # it is wrapped
    expected = f"MLflow could not be reached: {kept['records']} records are kept in {kept['folder']}; send them with "
    assert "".join(f"{expected} audiocls sync {file} {at}".split()) in words
    assert Path(result["model"], "model.safetensors").exists()
    assert (tmp_path / "workspace" / "runs" / result["run_id"] / "evaluation" / "predictions.parquet").exists()

    assert main(["sync", str(file), at]) == 1
    said = capsys.readouterr()
    assert json.loads(said.out)["unsent"] == kept["records"]
    assert f"run {result['run_id']}: 0 records sent; {kept['records']} kept: tracking.uri = {server.uri}" in said.err
    assert "Traceback" not in said.err

    server.start()
    assert main(["sync", str(tmp_path / "workspace")]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["sent"] == kept["records"]
    client = MlflowClient(server.uri)
    run = client.get_run(result["run_id"])
    assert run.info.status == "FINISHED"
    assert run.info.end_time < run.info.start_time + 1_000_000
    logged = headline_first(result["metrics"])
    assert {name: run.data.metrics[name] for name in logged} == logged
    assert "Accuracy" in run.data.tags["mlflow.note.content"]
    assert "evaluation/predictions.parquet" in [e.path for e in client.list_artifacts(result["run_id"], "evaluation")]
    assert len({metric.step for metric in client.get_metric_history(result["run_id"], "validation/loss")}) == 2
    (model,) = client.search_logged_models([run.info.experiment_id])
    assert (str(model.status), model.source_run_id) == ("READY", result["run_id"])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    weights = tracking.download_model(result["run_id"]) / "model.safetensors"
    assert weights.read_bytes() == Path(result["model"], "model.safetensors").read_bytes()
    assert main(["sync", str(file), at]) == 0
    assert json.loads(capsys.readouterr().out) == {"sent": 0, "unsent": 0, "runs": []}


def test_a_folder_without_runs_is_not_a_workspace(tmp_path, capsys):
    assert main(["sync", str(tmp_path)]) == 2
    assert f"error: {tmp_path}: it has no folder `runs`" in capsys.readouterr().err
