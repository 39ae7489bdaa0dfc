"""An MLflow server that goes away during a run: nothing stops, and nothing is lost."""

from __future__ import annotations

import http.server
import json
import shutil
import subprocess
import sys
import threading
import zlib
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow_server import MlflowServer, free_port

from audiocls import tracking
from audiocls.balance.selection import balance
from audiocls.errors import DataError, FullDiskError, StoreError, TrackingError, TrainingError, UnreachableError
from audiocls.params.run import RunParams
from audiocls.sources.manifest import list_clips
from audiocls.splits.assignment import assign_splits
from audiocls.splits.prepared_data import PreparedData
from audiocls.tracking import NestedRun, TrackedRun, delivery
from audiocls.tracking.outbox import Outbox
from audiocls.training.run import fit
from audiocls.waveforms.corpus import collect_corpus
from audiocls.waveforms.shards import write_shard
from audiocls.waveforms.store import plan_store

STEPS_PER_EPOCH = 9


@pytest.fixture(scope="module")
def server_of_all(tracked_workspace, tmp_path_factory):
    made = MlflowServer(tracked_workspace(tmp_path_factory.mktemp("server")))
    yield made
    made.kill()


@pytest.fixture
def server(server_of_all):
    """A server that runs when a test begins, whatever the test before did to it."""
    server_of_all.start()
    return server_of_all


def params_on(server: MlflowServer, tmp_path: Path, tones: Path = Path("recordings")) -> RunParams:
    return RunParams.model_validate(
        {
            "workspace": str(tmp_path / "workspace"),
            "data": {"source": "folder", "path": str(tones), "group_by": "file"},
            "audio": {"max_seconds": 0.2},
            "model": {"config": {"channels": [4, 8]}},
            "training": {"epochs": 3, "batch_size": 4},
            "tracking": {"uri": server.uri},
        }
    )


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


def test_a_server_that_is_away_during_fit_and_comes_back_has_every_metric(server, tones, tmp_path, caplog):
    caplog.set_level("INFO", logger="audiocls")
    params = params_on(server, tmp_path, tones)
    splits, balanced, store = prepare(params)
    logged = defaultdict(dict)
    kept = []

    with tracking.tracked_run(params, "a run", {}) as run:
        outbox = Outbox(run.folder)

        def log(metrics, step):
            if step == STEPS_PER_EPOCH:
                server.kill()
            if step == 2 * STEPS_PER_EPOCH and not kept:
                kept.append(len(outbox))
                server.start()
            tracking.log_metrics(run, metrics, step)
            for name, value in metrics.items():
                logged[name][step] = value

        fit(PreparedData(splits, store, params), balanced, run.folder, log)
    assert kept[0] > 0
    assert tracking.unsent(run) is None
    client = MlflowClient(server.uri)
    assert client.get_run(run.run_id).info.status == "FINISHED"
    found = {
        name: {metric.step: metric.value for metric in client.get_metric_history(run.run_id, name)} for name in logged
    }
    assert found == logged
    assert {STEPS_PER_EPOCH, 2 * STEPS_PER_EPOCH, 3 * STEPS_PER_EPOCH} <= set(found["validation/loss"])
    said = [record.getMessage() for record in caplog.records if record.name.startswith("audiocls.tracking")]
    assert [line for line in said if "The run goes on" in line] == said[:1]
    assert [line for line in said if "is back" in line] == said[1:]
    assert len(said) == 2


def log_everything(run: TrackedRun, folder: Path) -> None:
    """Log one entry of each kind; then remove the files that are not of the run, as another run may."""
    folder.mkdir()
    for name in ("clips.parquet", "nested/rows.txt", "tables/a/b.csv"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"this is {name}")
    tracking.log_dataset(run, folder / "clips.parquet", "clips", "0123456789abcdef", {"clips": 7})
    tracking.log_metrics(run, {"train/loss": 0.5, "train/odd": float("nan")}, 1)
    tracking.log_metrics(run, {"train/loss": 0.25}, 2)
    tracking.log_tags(run, {"a": "b"})
    tracking.log_json(run, {"ä": 1}, "data/counts.json")
    tracking.log_artifacts(run, folder / "clips.parquet", "data")
    tracking.log_artifacts(run, folder / "tables", "tables")
    (run.folder / "evaluation").mkdir(parents=True)
    (run.folder / "evaluation" / "report.csv").write_text("own")
    tracking.log_artifacts(run, run.folder / "evaluation", "evaluation")
    tracking.log_nested_runs(run, [NestedRun("child", {"seed": 3}, {"gain": 0.125}, folder / "nested")])
    tracking.describe_run(run, "**good**")
    shutil.rmtree(folder)


def state_of(client: MlflowClient, run_id: str) -> dict:
    """Everything that MLflow has of a run and of those below it, without times and ids."""
    found = client.get_run(run_id)

    def files(folder: str = "") -> list[tuple[str, int]]:
        entries = client.list_artifacts(run_id, folder)
        return [file for e in entries for file in (files(e.path) if e.is_dir else [(e.path, e.file_size)])]

    below = client.search_runs([found.info.experiment_id], f"tags.`mlflow.parentRunId` = '{run_id}'")
    histories = {name: client.get_metric_history(run_id, name) for name in found.data.metrics}
    return {
        "status": found.info.status,
        "params": {name: value for name, value in found.data.params.items() if name != "seed"},
        "tags": {name: value for name, value in found.data.tags.items() if name != "mlflow.parentRunId"},
        "metrics": {name: [(m.step, str(m.value)) for m in history] for name, history in histories.items()},
        "datasets": [(entry.dataset.name, entry.dataset.digest) for entry in found.inputs.dataset_inputs],
        "files": [file for file in files() if file[0] != "params.yaml"],  # it has the seed
        "below": [state_of(client, child.info.run_id) for child in below],
    }


def test_what_is_kept_of_a_run_is_what_sync_brings_later(server, tmp_path):
    params = params_on(server, tmp_path)
    client = MlflowClient(server.uri)
    with tracking.tracked_run(params, "a run", {}) as undisturbed:
        log_everything(undisturbed, tmp_path / "files")
    with tracking.tracked_run(params.model_copy(update={"seed": 1_234}), "a run", {}) as run:
        server.kill()
        log_everything(run, tmp_path / "files")
        (in_progress,) = tracking.sync(params.workspace)
        assert (in_progress.sent, in_progress.reason) == (0, "the run is in progress, and sends them itself")
    kept = tracking.unsent(run)
    (away,) = tracking.sync(params.workspace)
    assert (away.run_id, away.sent, away.unsent) == (run.run_id, 0, kept.records)
    assert f"{server.uri}: no MLflow server answers there" in away.reason
    server.start()
    (done,) = tracking.sync(params.workspace)
    assert done == tracking.Synced(run.run_id, kept.records, 0, None)
    assert tracking.unsent(run) is None
    assert tracking.sync(params.workspace) == []
    after = state_of(client, run.run_id)
    assert after["status"] == "FINISHED"
    assert after["metrics"]["train/loss"] == [(1, "0.5"), (2, "0.25")]
    assert after["below"][0]["files"] == [("data/balance/rows.txt", len("this is nested/rows.txt"))]
    assert after == state_of(client, undisturbed.run_id)


def test_an_interrupted_run_that_kept_records_is_resumed_and_sends_them(server, tmp_path):
    params = params_on(server, tmp_path)
    client = MlflowClient(server.uri)
    opened = tracking.tracked_run(params, "a run", {})
    run = opened.__enter__()
    server.kill()
    tracking.log_metrics(run, {"train/loss": 0.5}, 1)
    assert not opened.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert tracking.unsent(run).records == 3  # the metric, the reason and the end
    with pytest.raises(TrackingError, match="no MLflow server answers there"), tracking.tracked_run(params, "a", {}):
        pass
    server.start()
    with tracking.tracked_run(params, "again", {}) as again:
        assert again.run_id == run.run_id
        assert tracking.unsent(run) is None
        found = client.get_run(run.run_id)
        assert (found.info.status, found.data.metrics) == ("RUNNING", {"train/loss": 0.5})
        assert "error" not in found.data.tags
    assert client.get_run(run.run_id).info.status == "FINISHED"


# Without a server

KEEP = """
import sys
from pathlib import Path
from audiocls import tracking
run = tracking.TrackedRun(sys.argv[1], "0", "none", Path(sys.argv[2]))
for step in range(1_000_000):
    tracking.log_metrics(run, {"train/loss": 0.5}, step)
    print(step, flush=True)
"""


def test_a_killed_process_loses_nothing_that_it_kept(tmp_path):
    uri = f"http://127.0.0.1:{free_port()}"
    process = subprocess.Popen([sys.executable, "-c", KEEP, uri, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    while process.stdout.readline() != "20\n":
        assert process.poll() is None
    process.kill()
    acknowledged = max(map(int, ["20", *process.stdout.read().split()]))
    process.wait()
    steps = [record["step"] for record in Outbox(tmp_path).unsent()]
    assert steps == list(range(len(steps)))
    assert len(steps) > acknowledged


def test_a_line_that_a_killed_process_did_not_finish_is_dropped(tmp_path):
    run = TrackedRun("http://127.0.0.1:1", "0", "none", tmp_path)
    outbox = Outbox(tmp_path)
    outbox.append(run, {"kind": "batch", "tags": {"a": "1"}})
    with (outbox.folder / "records.jsonl").open("a") as file:
        file.write('{"kind": "batch", "ta')
    assert len(outbox) == 1
    outbox.append(run, {"kind": "batch", "tags": {"b": "2"}})
    assert [record["tags"] for record in outbox.unsent()] == [{"a": "1"}, {"b": "2"}]
    outbox.mark_sent()
    assert [record["tags"] for record in Outbox(tmp_path).unsent()] == [{"b": "2"}]


@contextmanager
def answering(status: int):
    """A server that is healthy and answers requests with a status; yields its URI, its requests and the status."""
    asked, statuses = [], [status]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()

        def do_POST(self):
            asked.append(self.path)
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(statuses[-1])
            self.end_headers()
            self.wfile.write(json.dumps({"error_code": "INVALID_PARAMETER_VALUE", "message": "no"}).encode())

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked, statuses
        finally:
            server.shutdown()


def test_an_error_of_the_server_is_waited_out_and_a_mistake_is_raised(tmp_path):
    with answering(503) as (uri, asked, _):
        run = TrackedRun(uri, "0", "none", tmp_path / "kept")
        for step in range(5):
            tracking.log_metrics(run, {"train/loss": 0.5}, step)
    assert tracking.unsent(run).records == 5
    assert len(asked) == 2  # the first call and its one retry; those after it wait
    with answering(400) as (uri, _, _):
        run = TrackedRun(uri, "0", "none", tmp_path / "not kept")
        with pytest.raises(TrackingError, match="MLflow failed") as raised:
            tracking.log_metrics(run, {"train/loss": 0.5}, 0)
    assert not isinstance(raised.value, UnreachableError)
    assert tracking.unsent(run) is None


def test_a_server_that_is_back_without_its_database_does_not_stop_the_run(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(delivery, "_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(delivery, "_PAUSE_PER_TRY", 0.0)
    with answering(503) as (uri, asked, statuses):
        run = TrackedRun(uri, "0", "none", tmp_path)
        for step in range(4):
            tracking.log_metrics(run, {"train/loss": 0.5}, step)
            statuses.append(404)
    assert len(asked) > 4
    assert tracking.unsent(run).records == 4
    said = [record.getMessage() for record in caplog.records if "The run goes on" in record.getMessage()]
    assert len(said) == 2  # that it is away, and that it rejects what was kept
    assert "what was not sent stays in" in said[1]


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
