"""The process of the embedded Prefect server, which `flows/server.py` starts.

    python -P flows/server_process.py LISTENING_SOCKET READY_PIPE PARENT LOCK_FILE

LISTENING_SOCKET and READY_PIPE are inherited file descriptors, PARENT is the process whose end also ends the server.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Final

import uvicorn
from filelock import FileLock

_LOOK_SECONDS: Final = 0.5
_CLOSE_SECONDS: Final = 3


class _Server(uvicorn.Server):
    """A server that locks the Prefect home while it starts, and signals when it is ready.

    Prefect 3.8 creates and migrates its SQLite database at the start of each server, without a lock: of two first
    starts at the same time, one fails with `table ... already exists`.
    """

    def __init__(self, config: uvicorn.Config, ready: int, lock: Path) -> None:
        super().__init__(config)
        self._ready = ready
        self._lock = lock

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        with FileLock(self._lock):
            await super().startup(sockets)
        gc.freeze()
        gc.enable()
        os.write(self._ready, b"!")
        os.close(self._ready)


def main(listening: int, ready: int, parent: int, lock: Path) -> None:
    """Serve Prefect's API on an open socket until the parent stops it or ends."""
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    # Imports leave no garbage, and collecting it would take a quarter of the start time.
    gc.disable()
    config = uvicorn.Config(
        "prefect.server.api.server:create_app",
        factory=True,
        log_level="error",
        lifespan="on",
        timeout_graceful_shutdown=_CLOSE_SECONDS,
    )
    _Server(config, ready, lock).run([socket.socket(fileno=listening)])


def _end_with(parent: int) -> None:
    """End soon after the parent, even if it was killed, which runs no cleanup.

    An orphaned process gets another parent. Linux's parent-death signal would come too early, at the end of the thread
    that started this process.
    """
    while os.getppid() == parent:
        time.sleep(_LOOK_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(2 * _CLOSE_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
