"""Deploy prefect.yaml to a Prefect server: `make deploy`, or `python -m flows.deploy`.

PREFECT_API_URL names the server. If it is an address of this machine without a running server, one is started in the
background. It logs to server.log in Prefect's folder; `prefect server stop` stops it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from filelock import FileLock
from prefect.settings import PREFECT_HOME

from audiocls.errors import UserMistake
from flows.server import open_log, start_lock, unanswered

HOME = Path(__file__).resolve().parent.parent
DEFAULT_API_URL = "http://127.0.0.1:4200/api"
WORK_POOL = "audiocls"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_START_SECONDS = 120


def main() -> int:
    """Start a server if needed, create the work pool, deploy, and print the next steps."""
    api_url = os.environ.get("PREFECT_API_URL", DEFAULT_API_URL)
    environment = os.environ | {"PREFECT_API_URL": api_url, "AUDIOCLS_HOME": str(HOME)}
    try:
        ensure_server(api_url, environment)
        _prefect(["work-pool", "create", WORK_POOL, "--type", "process", "--overwrite"], environment)
        _prefect(["--no-prompt", "deploy", "--all"], environment)
    except (subprocess.CalledProcessError, TimeoutError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except UserMistake as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stderr.write(
        f"Deployed to {api_url}. `make worker` executes scheduled runs. To start a run from a shell:\n\n"
        f"    source {HOME}/.venv/bin/activate\n"
        f"    export PREFECT_API_URL={api_url}\n"
        "    prefect deployment run train-flow -p params_file=params/quickstart.yaml\n"
    )
    return 0


def ensure_server(api_url: str, environment: dict[str, str]) -> None:
    """Start a server on this machine if none answers.

    Raises:
        TimeoutError: It did not start in time, or the address is of another machine and does not answer.
        subprocess.CalledProcessError: It exited.
        UserMistake: Prefect's folder cannot be written.
    """
    if _answers(api_url):
        return
    address = urlsplit(api_url)
    if address.hostname not in _LOOPBACK:
        raise TimeoutError(unanswered(api_url))
    # Set the port by the environment: with --port, the UI would still use port 4200 (Prefect 3.8).
    port = {"PREFECT_SERVER_API_PORT": str(address.port or 4200), "PREFECT_SERVER_API_HOST": "127.0.0.1"}
    log = Path(PREFECT_HOME.value()) / "server.log"
    with open_log(log) as output, FileLock(start_lock(log.parent)):
        if not _answers(api_url):  # another `make deploy` may have started it
            _wait_for(api_url, _begin_server(environment | port, output), log)


def _begin_server(environment: dict[str, str], output: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start a server that logs to a file.

    `--background` is not used: that server writes to a closed pipe, and exits on its first warning (Prefect 3.8, rich
    15).
    """
    return subprocess.Popen(
        [sys.executable, "-m", "prefect", "server", "start"], cwd=HOME, env=environment, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
    )  # fmt: skip


def _wait_for(api_url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until it answers, and write its PID to the file that `prefect server stop` reads."""
    deadline = time.monotonic() + _START_SECONDS
    while not _answers(api_url):
        if server.poll() is not None:
            sys.stderr.write(log.read_text(errors="replace")[-2_000:])
            raise subprocess.CalledProcessError(server.returncode, server.args)
        if time.monotonic() > deadline:
            server.terminate()
            raise TimeoutError(f"the Prefect server did not answer at {api_url} within {_START_SECONDS} s; see {log}.")
        time.sleep(0.5)
    (log.parent / "server.pid").write_text(str(server.pid))
    sys.stderr.write(f"Started a Prefect server, which logs to {log}; `prefect server stop` stops it.\n")


def _answers(api_url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{api_url}/health", timeout=5):
            return True
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False


def _prefect(arguments: list[str], environment: dict[str, str]) -> None:
    subprocess.run([sys.executable, "-m", "prefect", *arguments], cwd=HOME, env=environment, check=True)


if __name__ == "__main__":
    sys.exit(main())
