"""The Prefect server of a command: many started at once, behind a proxy, killed, and what a killed command leaves."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest
from prefect.client import base
from prefect.client.orchestration import SyncPrefectClient
from prefect.settings import PREFECT_API_URL, PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS, temporary_settings

import tasks  # noqa: F401  # teaches Prefect's clients what is tested here
from flows.server import EmbeddedServer, ServerError, begin_server, wait_for_server

HOME = Path(__file__).resolve().parents[2]
NOWHERE = "http://127.0.0.1:9"  # the port of the discard service, where nothing listens

# It says on stdout that it is at the gate, and goes on when a line comes in on stdin.
GATED = """
import sys
from dataclasses import dataclass
from prefect import flow, task
from prefect.client.orchestration import get_client
from flows.command_line import run_flow
import tasks

@task
def double(number):
    return 2 * number

@dataclass
class Result:
    number: int

@flow(name="gated")
def gated(params_file: str, overrides: tuple = ()):
    double(1)
    print("at the gate", get_client(sync_client=True).api_url, flush=True)
    sys.stdin.readline()
    return Result(double.submit(double(2)).result())

if __name__ == "__main__":
    sys.exit(run_flow(lambda: gated, *sys.argv[1:]))
"""
# Writes down every name and address outside of this machine that a Python process asks for.
LISTEN = """
import os, sys

def hear(event, arguments):
    if event in ("socket.getaddrinfo", "socket.connect"):
        host = arguments[0] if event == "socket.getaddrinfo" else arguments[1][0]
        if host not in ("127.0.0.1", "::1", "localhost"):
            with open(os.environ["HEARD"], "a") as heard:
                heard.write(f"{sys.argv}: {event} {host}\\n")

sys.addaudithook(hear)
"""


class Command:
    """`gated.py` in a process of its own, started in a folder where no settings of this checkout hold."""

    def __init__(self, folder: Path, **variables: str) -> None:
        dropped = ("PREFECT_", "DO_NOT_TRACK", "CI", "MLFLOW_", "NO_PROXY", "no_proxy")
        outer = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
        paths = {"PYTHONPATH": f"{folder}{os.pathsep}{HOME}", "HEARD": str(folder / "heard.txt")}
        home = {} if "HOME" in variables else {"PREFECT_HOME": str(folder / "prefect")}
        self.process = subprocess.Popen(
            [sys.executable, "gated.py", "gated.yaml"], cwd=folder, env=outer | paths | home | variables, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def reach_the_gate(self) -> Command:
        """Wait for it; note what it has started, and where its Prefect server is."""
        line = self.process.stdout.readline()
        assert line.startswith("at the gate "), line + self.process.stderr.read()
        self.api_url = line.split()[-1]
        self.started = psutil.Process(self.process.pid).children(recursive=True)
        return self

    def end(self) -> tuple[int, str, str]:
        """Let it go on; return its exit status, and what it said on stdout and stderr."""
        out, err = self.process.communicate("go on\n", timeout=300)
        assert "Traceback" not in err
        return self.process.returncode, out, err

    def left_running(self) -> list[psutil.Process]:
        """Return what it started and is not gone in the time that an orphan needs to notice."""
        assert self.started
        return psutil.wait_procs(self.started, timeout=60)[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "gated.py").write_text(GATED)
    (folder / "sitecustomize.py").write_text(LISTEN)
    (folder / "gated.yaml").write_text("experiment: gated\ndata: {source: folder, path: .}\n")
    return folder


@contextmanager
def commands(*begun: Command) -> Iterator[tuple[Command, ...]]:
    try:
        yield begun
    finally:
        for command in begun:
            command.process.kill()
            command.process.communicate()


@pytest.fixture(scope="module")
def first_runs(folder):
    """Four first runs at once on one new Prefect home, behind proxies that do not answer, all at the gate."""
    proxies = ({"HTTP_PROXY": NOWHERE}, {"ALL_PROXY": NOWHERE}, {"http_proxy": NOWHERE, "NO_PROXY": "example.org"}, {})
    with commands(*[Command(folder, **proxy) for proxy in proxies]) as begun:
        yield [command.reach_the_gate() for command in begun]


def test_first_runs_at_once_share_a_new_home_behind_a_proxy_and_send_nothing_to_anybody(first_runs, folder):
    assert len({command.api_url for command in first_runs}) == 4
    heard = folder / "heard.txt"
    assert not heard.exists(), heard.read_text()


def test_a_killed_embedded_server_is_replaced_and_the_run_goes_on(first_runs):
    (server,) = first_runs[0].started
    server.kill()
    status, out, err = first_runs[0].end()
    assert (status, out) == (0, '{"number": 8}\n'), err
    assert "server exited with status -9; restarting it" in err
    assert first_runs[0].left_running() == []


def test_a_killed_command_takes_its_server_along_and_who_used_that_server_ends_with_one_sentence(first_runs, folder):
    host = first_runs[1]
    # Retries with back-off take a minute by default; the last test of this file is about them.
    with commands(Command(folder, PREFECT_API_URL=host.api_url, PREFECT_CLIENT_MAX_RETRIES="0")) as (guest,):
        assert guest.reach_the_gate().api_url == host.api_url
        host.process.kill()
        assert host.left_running() == []
        status, out, err = guest.end()
    assert (status, out) == (1, ""), err
    assert "Event(" not in err
    (told,) = re.findall("^error: .*", err, re.MULTILINE)
    assert f"the Prefect server at {host.api_url} no longer answers, after 0 retries" in told
    assert "same command, which resumes from the stores" in told


@pytest.mark.parametrize(("index", "number", "status"), [(2, signal.SIGINT, 130), (3, signal.SIGTERM, 143)])
def test_an_interrupted_or_terminated_command_leaves_no_process(index, number, status, first_runs):
    first_runs[index].process.send_signal(number)
    ended, out, err = first_runs[index].end()
    assert (ended, out) == (status, ""), err
    assert "Finished in state Crashed" in err
    assert first_runs[index].left_running() == []


def test_a_home_that_cannot_be_written_ends_with_2_and_the_name_of_the_setting(folder):
    with commands(Command(folder, HOME="gated.yaml")) as (command,):
        status, out, err = command.end()
    assert (status, out) == (2, ""), err
    assert "error: Prefect's folder gated.yaml/.prefect cannot be written (Not a directory). Set PREFECT_HOME" in err


def test_no_server_at_the_address_is_told_with_the_name_of_the_setting():
    with temporary_settings({PREFECT_API_URL: f"{NOWHERE}/api"}):
        assert begin_server() is None
        with pytest.raises(ServerError, match=f"PREFECT_API_URL = {NOWHERE}/api: no Prefect server answers there"):
            wait_for_server(None)


def test_no_server_in_time_is_told_with_the_name_of_the_setting(tmp_path):
    name = "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"
    with temporary_settings({PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS: 1}):
        server = EmbeddedServer(tmp_path)
        with pytest.raises(ServerError, match=f"has not started within 1 s. On a busy machine, increase {name}"):
            server.wait_until_ready()
        server.stop()


class _Health(BaseHTTPRequestHandler):
    def do_GET(self):  # the name that http.server asks for
        self.send_response(200)
        self.end_headers()


@contextmanager
def answering(port: int) -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", port), _Health) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_a_new_client_waits_for_a_server_that_another_client_has_reached(monkeypatch):
    with answering(0) as port, SyncPrefectClient(f"http://127.0.0.1:{port}/api") as first:
        assert first.api_healthcheck() is None
    with ExitStack() as later:
        # The server is there again after the first pause.
        monkeypatch.setattr(base, "clamped_poisson_interval", lambda *_: later.enter_context(answering(port)) * 0)
        with SyncPrefectClient(f"http://127.0.0.1:{port}/api") as new:
            assert new.api_healthcheck() is None
