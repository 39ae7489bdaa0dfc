"""The Prefect server of a command: the one that PREFECT_API_URL names, or else an embedded one.

Prefect would start an embedded server by itself, but not restart one that was killed, and not end one whose command
was killed; it allows no second start at the same time and gives each 20 s. This one does better on all four. It can go
when Prefect's own does as well.

The command opens the listening socket itself and keeps it. So the address is known before the server runs, and what
asks for it while it starts, or starts again, waits instead of being refused.
"""

from __future__ import annotations

import atexit
import logging
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Final

import httpx
from prefect import context
from prefect.client.orchestration import get_client
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_CLIENT_MAX_RETRIES,
    PREFECT_HOME,
    PREFECT_SERVER_EPHEMERAL_ENABLED,
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS,
    get_current_settings,
    temporary_settings,
)

from audiocls.errors import AudioclsError, UserMistake

logger = logging.getLogger(__name__)

_PATIENCE: Final = PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS.name
_RESTARTS: Final = 5
_STOP_SECONDS: Final = 5
_MAX_LOG_BYTES: Final = 1_000_000


class ServerError(AudioclsError):
    """Prefect's server cannot be started or does not answer."""


class EmbeddedServer:
    """A Prefect server on a free port of 127.0.0.1 that lives as long as this process.

    Args:
        home: Prefect's folder, which holds the server's log and the lock of its start.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._log = home / "embedded-server.log"
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=2048)
        self._settled = threading.Event()
        self._ready = False
        self._stopping = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def api_url(self) -> str:
        """Where the server answers, or will."""
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}/api"

    def start(self) -> None:
        """Begin to start the server, and return at once.

        Raises:
            UserMistake: Prefect's folder cannot be written.
        """
        output = open_log(self._log)
        threading.Thread(target=self._keep_alive, args=(output,), daemon=True).start()
        # Prefect's last logs and events are sent before what `atexit` runs.
        atexit.register(self.stop)

    def wait_until_ready(self) -> None:
        """Wait until the server answers.

        Raises:
            ServerError: It ended again and again, or has not answered in time.
        """
        seconds = PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS.value()
        if not self._settled.wait(seconds):
            raise ServerError(
                f"Prefect's embedded server has not started within {seconds} s. On a busy machine set {_PATIENCE} to "
                f"more seconds, or PREFECT_API_URL to a server that runs already. It writes to {self._log}."
            )
        if not self._ready:
            raise ServerError(
                f"Prefect's embedded server ended {_RESTARTS + 1} times while it started; it writes the reason to "
                f"{self._log}. Remove the reason, or set PREFECT_API_URL to a server that runs already."
            )

    def stop(self) -> None:
        """End the server."""
        self._stopping.set()
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._socket.close()

    def _keep_alive(self, output: IO[bytes]) -> None:
        """Start the server, and again each time it ends before this process, with growing pauses."""
        with output:
            for restart in range(_RESTARTS + 1):
                status = self._run(output)
                if self._stopping.is_set():
                    return
                logger.warning("Prefect's embedded server ended with status %d and is started again.", status)
                if self._stopping.wait(2**restart - 1):
                    return
        self._socket.close()  # from now on clients are refused, where they would wait for ever
        self._settled.set()

    def _run(self, output: IO[bytes]) -> int:
        """Run the server until it ends, and return its exit status."""
        ready, ready_child = os.pipe()
        listening = self._socket.fileno()
        arguments = [str(listening), str(ready_child), str(os.getpid()), str(start_lock(self._home))]
        self._process = subprocess.Popen(
            # -P: the names of this folder's modules are not meant for the server.
            [sys.executable, "-P", str(Path(__file__).with_name("server_process.py")), *arguments],
            env=_server_environment(), pass_fds=(listening, ready_child), stdin=subprocess.DEVNULL, stdout=output,
            stderr=subprocess.STDOUT,
            # Ctrl-C goes to every process of a terminal's group; the flow has to tell the server of its end first.
            start_new_session=True,
        )  # fmt: skip
        os.close(ready_child)
        with os.fdopen(ready, "rb") as pipe:
            if pipe.read(1):
                self._ready = True
                self._settled.set()
        return self._process.wait()


def open_log(log: Path) -> IO[bytes]:
    """Open the log of a server in Prefect's folder, which is made where it is missing.

    Raises:
        UserMistake: It cannot be written.
    """
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        small = not log.exists() or log.stat().st_size < _MAX_LOG_BYTES
        return log.open("ab" if small else "wb")
    except OSError as error:
        raise UserMistake(
            f"Prefect's folder {log.parent} cannot be written ({error.strerror}). "
            "Set PREFECT_HOME to a folder that can be."
        ) from error


def start_lock(home: Path) -> Path:
    """Return the file that whoever starts a server on this Prefect home locks meanwhile."""
    return home / "server-start.lock"


def _server_environment() -> dict[str, str]:
    """Return what Prefect gives to its own embedded server: no pages, few services, and this process's settings."""
    embedded = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}
    settings = get_current_settings().to_environment_variables(exclude_unset=True)
    environment = os.environ | embedded | settings
    return {name: value for name, value in environment.items() if name not in ("PREFECT_API_URL", "PREFECT_UI_URL")}


def begin_server() -> EmbeddedServer | None:
    """Begin to start an embedded server where no other is named, and make it the one of this process and its children.

    Raises:
        UserMistake: Prefect's folder cannot be written, or the settings allow no server.
    """
    if PREFECT_API_URL.value():
        return None
    if not PREFECT_SERVER_EPHEMERAL_ENABLED.value():
        raise UserMistake(
            "PREFECT_API_URL is not set, and PREFECT_SERVER_EPHEMERAL_ENABLED = false rules out an embedded server. "
            "Set either."
        )
    server = EmbeddedServer(PREFECT_HOME.value())
    server.start()
    os.environ["PREFECT_API_URL"] = server.api_url
    os.environ["PREFECT_UI_URL"] = ""  # it shows no pages to link to
    context.refresh_global_settings_context()
    return server


def wait_for_server(embedded: EmbeddedServer | None) -> None:
    """Wait for the embedded server, or check that the one that PREFECT_API_URL names answers.

    Raises:
        ServerError: It does not.
    """
    if embedded is not None:
        embedded.wait_until_ready()
        return
    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}), get_client(sync_client=True) as client:
        error = client.api_healthcheck()
    if error is not None:
        raise ServerError(unanswered(PREFECT_API_URL.value())) from error


def unanswered(api_url: str | None) -> str:
    """Return what to say where no server answers at a person's address."""
    return f"PREFECT_API_URL = {api_url}: no Prefect server answers there. Start it, or unset the variable."


def is_lost_server(error: object) -> bool:
    """Say whether an error means that Prefect's server stayed away, after all retries."""
    api_url = PREFECT_API_URL.value()
    request = getattr(error, "_request", None)
    return isinstance(error, httpx.TransportError) and request is not None and str(request.url).startswith(api_url)


def lost() -> str:
    """Return what to say where the server stayed away in the middle of a run."""
    return (
        f"the Prefect server at {PREFECT_API_URL.value()} no longer answers, after "
        f"{PREFECT_CLIENT_MAX_RETRIES.value()} retries (PREFECT_CLIENT_MAX_RETRIES). Start it again; the same command "
        "then goes on from what is stored and from the last checkpoint."
    )
