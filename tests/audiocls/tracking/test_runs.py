"""The same assertions on a SQLite store and on a real MLflow server."""

from __future__ import annotations

import http.server
import json
import math
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow_server import MlflowServer, free_port
from recorded_bars import RecordedBars

from audiocls import tracking
from audiocls.errors import TrackingError
from audiocls.params.run import RunParams
from audiocls.params_file.reading import load_params
from audiocls.progress import shown_on


@pytest.fixture(scope="module")
def server(tracked_workspace, tmp_path_factory):
    started = MlflowServer(tracked_workspace(tmp_path_factory.mktemp("server")))
    started.start()
    yield started.uri
    started.kill()


@pytest.fixture(scope="module")
def sqlite(tracked_workspace, tmp_path_factory):
    return tracked_workspace(tmp_path_factory.mktemp("workspace"))


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


def test_class_names_that_would_be_one_metric_stay_two(params, client):
    odd = {"f1/a!": 1.0, "f1/a?": 2.0, "f1/a_": 3.0, "f1/..": 4.0, "f1//x/": 5.0, "f1/" + "y" * 300: 6.0, "/": 7.0}
    with tracking.tracked_run(params, "odd names", {}) as run:
        tracking.log_metrics(run, odd)
    assert sorted(client.get_run(run.run_id).data.metrics.values()) == sorted(odd.values())


def test_a_score_that_is_no_number_is_logged_as_such(params, client):
    with tracking.tracked_run(params, "nan", {}) as run:
        tracking.log_metrics(run, {"validation/loss": math.nan})
    assert math.isnan(client.get_run(run.run_id).data.metrics["validation/loss"])


def test_files_folders_and_json_become_artifacts(params, client, tmp_path):
    (tmp_path / "model" / "code").mkdir(parents=True)
    (tmp_path / "model" / "weights").write_bytes(b"\x00\x01" * 2_000)
    (tmp_path / "model" / "code" / "net.py").write_text("pass\n")
    (tmp_path / "table.csv").write_text("a,b\n")
    bars = RecordedBars()
    with shown_on(bars), tracking.tracked_run(params, "artifacts", {}) as run:
        tracking.log_artifacts(run, tmp_path / "model", "model")
        tracking.log_artifacts(run, tmp_path / "model")
        tracking.log_artifacts(run, tmp_path / "table.csv", "data")
        tracking.log_json(run, {"ä": 1}, "data/counts.json")
    out = Path(client.download_artifacts(run.run_id, "", str(tmp_path)))
    for folder in (out, out / "model"):
        assert (folder / "weights").read_bytes() == b"\x00\x01" * 2_000
        assert (folder / "code" / "net.py").read_text() == "pass\n"
    assert (out / "data" / "table.csv").read_text() == "a,b\n"
    assert json.loads((out / "data" / "counts.json").read_text()) == {"ä": 1}
    assert [(bar.unit, bar.total, bar.done) for bar in bars.bars] == 2 * [("kB", 4.005, 4.005)]


def test_the_data_set_is_an_input_with_its_digest(params, client, tmp_path):
    digest = "0123456789abcdef" * 4
    with tracking.tracked_run(params, "data", {}) as run:
        tracking.log_dataset(run, tmp_path / "clips.parquet", "clips", digest, {"clips": 7})
    found = client.get_run(run.run_id)
    (entry,) = found.inputs.dataset_inputs
    assert entry.dataset.digest == digest[:36]
    assert json.loads(entry.dataset.profile) == {"clips": 7}
    assert found.data.tags["data.digest"] == digest


def interrupted_by(error: BaseException, params: RunParams) -> str:
    """Open a run, raise in it, and return its id."""
    opened = tracking.tracked_run(params, "ends early", {})
    run = opened.__enter__()
    assert not opened.__exit__(type(error), error, None)
    return run.run_id


def test_a_failed_run_says_why(params, client):
    found = client.get_run(interrupted_by(ZeroDivisionError("no clips"), params))
    assert found.info.status == "FAILED"
    assert found.data.tags["error"] == "no clips"


def test_an_interrupted_run_is_killed(params, client):
    run_id = interrupted_by(KeyboardInterrupt(), params)
    assert client.get_run(run_id).info.status == "KILLED"


def test_a_failure_comes_before_that_of_a_store_which_cannot_take_it(params, client, caplog):
    def fail_in_a_deleted_run():
        with tracking.tracked_run(params, "deleted", {}) as run:
            client.delete_run(run.run_id)
            raise ZeroDivisionError("no clips")

    with pytest.raises(ZeroDivisionError, match="no clips"):
        fail_in_a_deleted_run()
    assert "could not be marked as FAILED" in caplog.text


def test_logging_to_a_run_that_was_deleted_meanwhile_is_a_tracking_error(params, client):
    run = tracking.start_run(params, "deleted", {})
    client.delete_run(run.run_id)
    with pytest.raises(TrackingError, match=r"^tracking\.uri = .*active"):
        tracking.log_metrics(run, {"train/loss": 1.0})


def test_runs_that_start_at_once_share_a_new_experiment(params):
    new = params.model_copy(update={"experiment": "started at once"})
    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(lambda i: tracking.start_run(new, f"run {i}", {}), range(4)))
    assert len({run.run_id for run in runs}) == 4
    assert len({run.experiment_id for run in runs}) == 1


def test_a_description_is_the_note_of_the_run(params, client):
    with tracking.tracked_run(params, "described", {}) as run:
        tracking.describe_run(run, "**good**")
    assert client.get_run(run.run_id).data.tags["mlflow.note.content"] == "**good**"


def test_only_a_server_has_an_address(params):
    run = tracking.TrackedRun(params.tracking_uri, "1", "abc", Path("runs/abc"))
    if params.tracking.uri:
        assert run.url == f"{params.tracking.uri}/#/experiments/1/runs/abc?workflowType=machine_learning"
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


@pytest.mark.parametrize("experiment", ["../../outside", "/outside", "a/../..", "..", "Vögel 100 % #1"])
def test_no_name_of_an_experiment_leads_out_of_the_workspace(sqlite, experiment):
    params = RunParams.model_validate(
        {"experiment": experiment, "workspace": str(sqlite), "data": {"source": "folder", "path": "x"}}
    )
    with tracking.tracked_run(params, "where", {}) as run:
        tracking.log_json(run, 1, "one.json")
    (found,) = sqlite.parent.rglob(f"{run.run_id}/artifacts/one.json")
    assert found.is_relative_to(sqlite / "mlartifacts")


def test_a_run_whose_artifacts_cannot_be_written_does_not_stay_running(sqlite):
    params = RunParams.model_validate(
        {"experiment": "in the way", "workspace": str(sqlite), "data": {"source": "folder", "path": "x"}}
    )
    (sqlite / "mlartifacts").mkdir(exist_ok=True)
    (sqlite / "mlartifacts" / "in the way").write_text("a file where the folder should be")
    with pytest.raises(TrackingError, match="mlartifacts/in the way"), tracking.tracked_run(params, "no place", {}):
        pass
    client = MlflowClient(params.tracking_uri)
    (run,) = client.search_runs([client.get_experiment_by_name(params.experiment).experiment_id])
    assert run.info.status == "FAILED"


# Stores that cannot be used


def start_at(uri, workspace):
    params = {"workspace": str(workspace), "data": {"source": "folder", "path": "x"}, "tracking": {"uri": uri}}
    return tracking.start_run(RunParams.model_validate(params), "nobody", {})


@pytest.mark.parametrize("address", ["127.0.0.1:{free}", "127.0.0.1:port", "", "two words:5000"])
def test_a_server_that_does_not_answer_is_told_at_once(address, tmp_path):
    with pytest.raises(TrackingError, match=r"no MLflow server answers there .* remove tracking\.uri to"):
        start_at(f"http://{address.format(free=free_port())}", tmp_path)


@pytest.mark.parametrize("status", [404, 503])
def test_a_server_of_something_else_is_a_tracking_error(status, tmp_path):
    class Other(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(status)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Other) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        try:
            with pytest.raises(TrackingError, match=str(status)):
                start_at(f"http://127.0.0.1:{other.server_port}", tmp_path)
        finally:
            other.shutdown()


@pytest.mark.parametrize("uri", ["sqlite:///{}/file/mlflow.db", "sqlite:///{}/file", "nonsense://x", "{}/mlruns"])
def test_a_store_that_cannot_be_opened_is_a_tracking_error_that_names_it(uri, tmp_path):
    (tmp_path / "file").write_text("no data base" * 1_000)
    with pytest.raises(TrackingError, match=r"^tracking\.uri = "):
        start_at(uri.format(tmp_path), tmp_path)


def test_the_logged_yaml_is_the_run_again(sqlite, tmp_path):
    params = RunParams.model_validate({"workspace": str(sqlite), "data": {"source": "folder", "path": "x"}, "seed": 5})
    with tracking.tracked_run(params, "again", {}) as run:
        pass
    logged = MlflowClient(params.tracking_uri).download_artifacts(run.run_id, "params.yaml", str(tmp_path))
    assert load_params(logged) == params


def test_a_run_that_was_interrupted_is_gone_on_with_by_the_same_params_alone(params, client):
    mine = params.model_copy(update={"seed": 4_711})
    run_id = interrupted_by(KeyboardInterrupt(), mine)
    with tracking.tracked_run(mine.model_copy(update={"seed": 4_712}), "other", {}) as other:
        assert other.run_id != run_id
    with tracking.tracked_run(mine, "another flow", {}, flow="ingest-flow") as other:
        assert other.run_id != run_id
    with tracking.tracked_run(mine, "again", {"prefect.flow_run_id": "2"}) as run:
        assert run.run_id == run_id
        assert client.get_run(run_id).info.status == "RUNNING"
    found = client.get_run(run_id)
    assert found.info.status == "FINISHED"
    assert found.data.tags["prefect.flow_run_id"] == "2"
    with tracking.tracked_run(mine, "once more", {}) as run:
        assert run.run_id != run_id


@pytest.mark.parametrize("reason", ["failed", "deleted", "not wanted"])
def test_a_new_run_is_started_where_the_old_one_cannot_go_on(reason, params, client):
    training = params.training.model_copy(update={"resume": reason != "not wanted"})
    mine = params.model_copy(update={"seed": 4_713, "training": training})
    error = ZeroDivisionError("no clips") if reason == "failed" else KeyboardInterrupt()
    run_id = interrupted_by(error, mine)
    if reason == "deleted":
        client.delete_run(run_id)
    with tracking.tracked_run(mine, "again", {}) as run:
        assert run.run_id != run_id


def test_no_secret_of_the_params_is_written_down_with_a_run(sqlite):
    sources = {
        "near": {"source": "table", "path": "https://me:hush-hush@host/a.csv?token=hush-hush"},
        "far": {"source": "folder", "path": "ftp://me:hush-hush@host/clips"},
    }
    data = {"source": "pool", "sources": sources}
    params = RunParams.model_validate({"workspace": str(sqlite), "data": data})
    with pytest.raises(OSError, match="hush-hush"), tracking.tracked_run(params, "a run", {}):
        raise OSError("http://me:hush-hush@host does not answer")
    files = [path for path in sqlite.rglob("*") if path.is_file()]
    assert {"mlflow.db", "params.yaml"} <= {path.name for path in files}
    assert [path for path in files if b"hush-hush" in path.read_bytes()] == []
    assert any(b"https://me:***@host/a.csv?token=***" in path.read_bytes() for path in files)
