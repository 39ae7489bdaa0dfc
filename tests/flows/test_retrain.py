"""Retraining: nothing new ends early, a better model is put into use, another is not, and a rollback undoes it."""

from __future__ import annotations

import json

import pytest
import yaml
from filelock import FileLock
from flow_runs import run_flow
from mlflow import MlflowClient

from flows.cli import main
from flows.retrain import retrain_flow

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture
def params_file(tones, tmp_path):
    params = {
        "experiment": "tones",
        "workspace": str(tmp_path / "workspace"),
        "data": {"source": "folder", "path": str(tones)},
        "audio": {"max_seconds": 0.3},
        "model": {"config": {"channels": [8, 16]}},
        "split": {"test_fraction": 0.4},
        "training": {"epochs": 20, "batch_size": 4, "learning_rate": 0.01, "device": "cpu"},
        "evaluation": {"robustness_clips": 24},
    }
    file = tmp_path / "tones.yaml"
    file.write_text(yaml.safe_dump(params))
    return file


def retrain(capsys, *argv: str) -> dict:
    status = run_flow(retrain_flow, list(argv))
    said = capsys.readouterr()
    assert status == 0, said.err
    return json.loads(said.out.splitlines()[-1])


def test_a_first_model_nothing_new_a_challenger_that_is_kept_back_and_a_rollback(params_file, tmp_path, capsys):
    first = retrain(capsys, str(params_file))
    assert (first["version"], first["promoted"], first["champion"]) == (1, True, 1)
    assert first["decision"].startswith("There is no champion, and f1_macro +")

    again = retrain(capsys, str(params_file))
    assert (again["run_id"], again["version"], again["champion"]) == (None, 1, 1)
    assert "Nothing new: version 1 of tones" in again["decision"]

    worse = retrain(capsys, str(params_file), "training.max_steps=1", "training.learning_rate=1e-6")
    assert (worse["version"], worse["promoted"], worse["champion"]) == (2, False, 1)
    assert "against the champion, which does not show a gain above +0.000" in worse["decision"]
    said = json.loads((tmp_path / "workspace" / "runs" / worse["run_id"] / "gate" / "decision.json").read_text())
    assert (said["challenger"], said["champion"], said["promote"]) == (2, 1, False)
    checks = {check["name"] for check in said["checks"]}
    assert checks >= {"gain", "class low", "corruption noise_0_db", "latency", "size"}
    client = MlflowClient(f"sqlite:///{tmp_path / 'workspace' / 'mlflow.db'}")
    assert int(client.get_model_version_by_alias("tones", "challenger").version) == 2
    assert client.get_model_version("tones", "2").tags["audiocls.gate"] == worse["decision"]
    assert [file.path for file in client.list_artifacts(worse["run_id"], "gate")] == ["gate/decision.json"]

    at = ["--workspace", str(tmp_path / "workspace")]
    assert main(["promote", "tones", "--why", "by hand", *at]) == 0
    assert main(["rollback", "tones", "--why", "it was worse", *at]) == 0
    capsys.readouterr()
    assert main(["history", "tones", *at]) == 0
    history = json.loads(capsys.readouterr().out)
    assert history["in_use"] == 1
    assert [(entry["action"], entry["version"]) for entry in history["entries"]] == [
        ("registered", 1), ("promoted", 1), ("registered", 2), ("kept", 2), ("promoted", 2), ("rolled back", 1),
    ]  # fmt: skip


def test_a_second_retraining_at_once_does_nothing(params_file, tmp_path, capsys):
    folder = tmp_path / "workspace" / "registry"
    folder.mkdir(parents=True)
    with FileLock(folder / "tones.retraining.lock"):
        assert run_flow(retrain_flow, [str(params_file)]) == 1
    assert "tones: another retraining is under way; this one does nothing" in capsys.readouterr().err


def test_mistakes_are_told(tmp_path, capsys):
    at = ["--workspace", str(tmp_path / "none")]
    (tmp_path / "none").mkdir()
    assert main(["register", "abcd", *at]) == 2
    assert main(["history", "nothing", *at]) == 2
    assert main(["promote", "nothing", "--why", "x", *at]) == 2
    errors = capsys.readouterr().err
    assert "abcd: " in errors
    assert "nothing: not registered; run: audiocls register RUN --model nothing" in errors
    assert "nothing: there is no challenger; name a version with --version" in errors
