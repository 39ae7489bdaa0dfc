"""What a person does: deploy, start a worker, ask for a run by the flow's name, and wait until it is completed."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from mlflow import MlflowClient

HOME = Path(__file__).resolve().parents[2]
SMALL = ["training.max_steps=4", "data.clips=120", "data.voices=12", "model.config={channels: [4, 8]}"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    pytest.importorskip(
        "espeakng_loader", reason="the quickstart speaks with espeak-ng: pip install 'audiocls[sample]'"
    )
    home = tmp_path_factory.mktemp("prefect")
    outer = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return outer | {
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"http://127.0.0.1:{free_port()}/api",
        # Nothing listens there: the server of this machine is reached without a proxy.
        "HTTP_PROXY": "http://127.0.0.1:9",
        "ALL_PROXY": "http://127.0.0.1:9",
        "PREFECT_CLI_COLORS": "false",
        "PREFECT_SERVER_LOGGING_LEVEL": "DEBUG",  # a server that cannot write ends with its first line
        "NO_COLOR": "1",
        "COLUMNS": "200",
    }


@pytest.fixture(scope="module")
def deployed(environment, tmp_path_factory):
    """A server with the deployments of prefect.yaml and a worker; both end with the tests."""
    deployment = run([sys.executable, "-m", "flows.deploy"], environment)
    log = tmp_path_factory.mktemp("worker") / "log.txt"
    with log.open("w") as out:
        worker = subprocess.Popen(
            [sys.executable, "-m", "prefect", "worker", "start", "--pool", "audiocls", "--type", "process"],
            cwd=HOME, env=environment, stdout=out, stderr=subprocess.STDOUT,
        )  # fmt: skip
    yield deployment
    stop(worker)
    run([sys.executable, "-m", "prefect", "server", "stop"], environment)


def stop(worker: subprocess.Popen[bytes]) -> None:
    """Ask twice, as a person would press Ctrl-C: the worker waits for its last stream, now and then for ever."""
    worker.terminate()
    try:
        worker.wait(timeout=15)
    except subprocess.TimeoutExpired:
        worker.terminate()
        worker.wait(timeout=15)


def run(command: list[str], environment: dict[str, str], *, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, cwd=HOME, env=environment, capture_output=True, text=True, timeout=300)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def ask(name: str, environment: dict[str, str], workspace: Path, *, check: bool = True):
    overrides = json.dumps([*SMALL, f"workspace={workspace}"])
    arguments = ["-p", "params_file=params/quickstart.yaml", "-p", f"overrides={overrides}"]
    return run([sys.executable, "-m", "prefect", "deployment", "run", name, *arguments], environment, check=check)


def plain(environment: dict[str, str]) -> dict[str, str]:
    """Return what Prefect's own command runs in, without the plugin, which also rules out the proxy."""
    proxies = {"HTTP_PROXY": "", "ALL_PROXY": ""}
    return environment | proxies | {"PREFECT_PLUGINS_ENABLED": "false"}


def run_url(asked: subprocess.CompletedProcess[str], environment: dict[str, str]) -> str:
    (run_id,) = re.findall(r"UUID: ([0-9a-f-]{36})", asked.stdout)
    return f"{environment['PREFECT_API_URL']}/flow_runs/{run_id}"


def final_state(url: str) -> str:
    """Ask the server until the run has ended: `--watch` gives up where a busy server drops its stream."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        state = httpx.get(url, timeout=60).json()["state"]
        if state["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"):
            return f"{state['name']}: {state['message']}" if state["message"] else state["name"]
        time.sleep(0.5)
    return "still running after 300 s"


def finished_runs(workspace: Path):
    client = MlflowClient(f"sqlite:///{workspace / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("quickstart")
    return [run for run in client.search_runs([experiment.experiment_id]) if run.info.status == "FINISHED"]


def test_deploying_says_how_to_ask_for_a_run(deployed, environment):
    assert "prefect deployment run train-flow -p params_file=params/quickstart.yaml" in deployed.stderr
    assert environment["PREFECT_API_URL"] in deployed.stderr
    log = Path(environment["PREFECT_HOME"], "server.log")
    assert f"logs to {log}" in deployed.stderr
    assert "Publishing event" in log.read_text()


def test_the_flow_name_alone_runs_to_the_end_and_asks_for_what_the_full_name_does(deployed, environment, tmp_path):
    asked = run_url(ask("train-flow", environment, tmp_path), environment)
    in_full = run_url(ask("train-flow/default", plain(environment), tmp_path), environment)
    cancelled = {"state": {"type": "CANCELLED"}, "force": True}  # one run is enough to wait for
    assert httpx.post(f"{in_full}/set_state", json=cancelled, timeout=60).json()["status"] == "ACCEPT"
    first, second = (httpx.get(url, timeout=60).json() for url in (asked, in_full))
    assert first["deployment_id"] == second["deployment_id"]
    assert first["parameters"] == second["parameters"]
    assert final_state(asked) == "Completed"
    (finished,) = finished_runs(tmp_path)
    assert "test/f1_macro" in finished.data.metrics


def test_the_short_name_needs_the_plugin(deployed, environment, tmp_path):
    refused = ask("train-flow", plain(environment), tmp_path, check=False)
    assert refused.returncode != 0
    assert "Invalid deployment name format" in refused.stdout + refused.stderr


def test_retraining_is_scheduled_weekly(deployed, environment):
    shown = run(
        [sys.executable, "-m", "prefect", "deployment", "inspect", "retrain-flow/default", "-o", "json"], environment
    )
    (schedule,) = json.loads(shown.stdout)["schedules"]
    assert schedule["schedule"]["cron"] == "0 3 * * 1"
    assert schedule["active"]
