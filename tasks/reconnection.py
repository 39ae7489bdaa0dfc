"""Lets every client of a process wait for a Prefect server that went away, and not only those that had reached it.

Prefect 3.8 retries a refused connection with back-off, 5 times in a minute (PREFECT_CLIENT_MAX_RETRIES), where the same
client object has had an answer before, so that a wrong address fails at once. But tasks in threads, artifacts and logs
each get a new client, and a server that restarts in the middle of a run ends it there with a ConnectError. It goes when
Prefect keeps that knowledge for the process.
"""

from __future__ import annotations

import queue
import threading
from typing import Any

from prefect._internal.concurrency.services import _QueueServiceBase
from prefect.client.base import PrefectHttpxAsyncClient, PrefectHttpxSyncClient


def remember_answers() -> None:
    """Teach Prefect's clients that what one of them reached, all of them can reach."""
    reached = threading.Event()

    def remember(_: object, answered: bool) -> None:
        if answered:
            reached.set()

    client: Any
    for client in (PrefectHttpxAsyncClient, PrefectHttpxSyncClient):
        client._has_connected = property(lambda _: reached.is_set(), remember)


def drop_unsent() -> None:
    """Drop the events and logs that wait for a server that is gone for good.

    At its end a process would try for 7 s to send each of them, hundreds after a long run.
    """
    services: Any = _QueueServiceBase
    for service in list(services._instances.values()):
        try:
            while True:
                service._queue.get_nowait()
                service._queue.task_done()
        except queue.Empty:
            continue
