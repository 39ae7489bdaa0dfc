"""Let all Prefect clients of a process wait for a server that restarts.

Prefect 3.8 retries a refused connection with backoff, 5 times in a minute (PREFECT_CLIENT_MAX_RETRIES), but only if the
same client object had a response before, so that a wrong address fails immediately. Tasks in threads, artifacts and
logs each get a new client, so a restart of the server during a run ends the run with a ConnectError. Remove once
Prefect shares this state within the process.
"""

from __future__ import annotations

import queue
import threading
from typing import Any

from prefect._internal.concurrency.services import _QueueServiceBase
from prefect.client.base import PrefectHttpxAsyncClient, PrefectHttpxSyncClient


def remember_answers() -> None:
    """Patch Prefect's clients to retry once any client of the process has reached the server."""
    reached = threading.Event()

    def remember(_: object, answered: bool) -> None:
        if answered:
            reached.set()

    client: Any
    for client in (PrefectHttpxAsyncClient, PrefectHttpxSyncClient):
        client._has_connected = property(lambda _: reached.is_set(), remember)


def drop_unsent() -> None:
    """Drop the queued events and logs for a server that no longer answers.

    Otherwise the process would retry each for 7 s at exit; a long run has hundreds.
    """
    services: Any = _QueueServiceBase
    for service in list(services._instances.values()):
        try:
            while True:
                service._queue.get_nowait()
                service._queue.task_done()
        except queue.Empty:
            continue
