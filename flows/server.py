"""The Prefect server of a command: the one that PREFECT_API_URL names, or else an embedded one.

Prefect's own embedded server is not restarted if it is killed, does not end if its command is killed, cannot start
twice at the same time, and has a timeout of 20 s. This one fixes all four. Remove once Prefect's own does.

The command opens and keeps the listening socket. So the address is known before the server runs, and clients wait
while the server starts or restarts, instead of being refused.
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
        home: Prefect's folder, with the server's log and start lock.
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
        """The URL at which the server answers once it is ready."""
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}/api"

    def start(self) -> None:
        """Start the server in the background.

        Raises:
            UserMistake: Prefect's folder cannot be written.
        """
        output = open_log(self._log)
        threading.Thread(target=self._keep_alive, args=(output,), daemon=True).start()
        # Prefect sends its last logs and events before `atexit` functions run.
        atexit.register(self.stop)

    def wait_until_ready(self) -> None:
        """Wait until the server answers.

        Raises:
            ServerError: It exited repeatedly, or did not answer in time.
        """
        seconds = PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS.value()
        if not self._settled.wait(seconds):
            raise ServerError(
                f"Prefect's embedded server has not started within {seconds} s. On a busy machine, increase "
                f"{_PATIENCE}, or set PREFECT_API_URL to a running server. See {self._log}."
            )
        if not self._ready:
            raise ServerError(
                f"Prefect's embedded server exited {_RESTARTS + 1} times during its start; see the reason in "
                f"{self._log}. Fix it, or set PREFECT_API_URL to a running server."
            )

    def stop(self) -> None:
        """Stop the server."""
        self._stopping.set()
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._socket.close()

    def _keep_alive(self, output: IO[bytes]) -> None:
        """Start the server, and restart it with growing delays whenever it exits before this process."""
        with output:
            for restart in range(_RESTARTS + 1):
                status = self._run(output)
                if self._stopping.is_set():
                    return
                logger.warning("Prefect's embedded server exited with status %d; restarting it.", status)
                if self._stopping.wait(2**restart - 1):
                    return
        self._socket.close()  # refuse clients, which would otherwise wait forever
        self._settled.set()

    def _run(self, output: IO[bytes]) -> int:
        """Run the server until it exits, and return its exit status."""
        ready, ready_child = os.pipe()
        listening = self._socket.fileno()
        arguments = [str(listening), str(ready_child), str(os.getpid()), str(start_lock(self._home))]
        self._process = subprocess.Popen(
            # -P: keep the modules of this folder off the server's path.
            [sys.executable, "-P", str(Path(__file__).with_name("server_process.py")), *arguments],
            env=_server_environment(), pass_fds=(listening, ready_child), stdin=subprocess.DEVNULL, stdout=output,
            stderr=subprocess.STDOUT,
            # Ctrl-C goes to every process of the group, but the flow must first report its end to the server.
            start_new_session=True,
        )  # fmt: skip
        os.close(ready_child)
        with os.fdopen(ready, "rb") as pipe:
            if pipe.read(1):
                self._ready = True
                self._settled.set()
        return self._process.wait()


def open_log(log: Path) -> IO[bytes]:
    """Open the log of a server in Prefect's folder, and create the folder if it is missing.

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
            "Set PREFECT_HOME to a writable folder."
        ) from error


def start_lock(home: Path) -> Path:
    """Return the lock file that is held while a server starts on this Prefect home."""
    return home / "server-start.lock"


def _server_environment() -> dict[str, str]:
    """Return the environment of Prefect's own embedded server: no UI, few services, and this process's settings."""
    embedded = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}
    settings = get_current_settings().to_environment_variables(exclude_unset=True)
    environment = os.environ | embedded | settings
    return {name: value for name, value in environment.items() if name not in ("PREFECT_API_URL", "PREFECT_UI_URL")}


def begin_server() -> EmbeddedServer | None:
    """Start an embedded server if none is named, and use it in this process and its children.

    Raises:
        UserMistake: Prefect's folder is not writable, or the settings allow no server.
    """
    if PREFECT_API_URL.value():
        return None
    if not PREFECT_SERVER_EPHEMERAL_ENABLED.value():
        raise UserMistake(
            "PREFECT_API_URL is not set, and PREFECT_SERVER_EPHEMERAL_ENABLED = false disables an embedded server. "
            "Set one of them."
        )
    server = EmbeddedServer(PREFECT_HOME.value())
    server.start()
    os.environ["PREFECT_API_URL"] = server.api_url
    os.environ["PREFECT_UI_URL"] = ""  # it has no UI
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
    """Return the message for a configured address at which no server answers."""
    return f"PREFECT_API_URL = {api_url}: no Prefect server answers there. Start it, or unset the variable."


def is_lost_server(error: object) -> bool:
    """Return whether an error means that Prefect's server did not answer, after all retries."""
    api_url = PREFECT_API_URL.value()
    request = getattr(error, "_request", None)
    return isinstance(error, httpx.TransportError) and request is not None and str(request.url).startswith(api_url)


def lost() -> str:
    """Return the message for a server that stopped answering during a run."""
    return (
        f"the Prefect server at {PREFECT_API_URL.value()} no longer answers, after "
        f"{PREFECT_CLIENT_MAX_RETRIES.value()} retries (PREFECT_CLIENT_MAX_RETRIES). Restart it and run the same "
        "command, which resumes from the stores and the last checkpoint."
    )
