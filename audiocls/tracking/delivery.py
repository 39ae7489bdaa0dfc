"""Sending records to MLflow, and keeping them while its server is away."""

from __future__ import annotations

import logging
import time
from functools import cache
from pathlib import Path
from typing import Any, Final

from audiocls.errors import TrackingError, UnreachableError, counted
from audiocls.files import masked
from audiocls.tracking.client import open_client, open_quick_client
from audiocls.tracking.outbox import Outbox, Record
from audiocls.tracking.records import send
from audiocls.tracking.run import TrackedRun
from audiocls.tracking.store import is_server

logger = logging.getLogger(__name__)

# While the server is away, a call tries it after this pause, and spends at most about a tenth of the time on trying.
_PAUSE_SECONDS: Final = 5.0
_PAUSE_PER_TRY: Final = 10.0
_LONGEST_REASON: Final = 200


class _Post:
    """The way of one run's records to MLflow."""

    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox
        self._next_try = 0.0
        self._rejected = False

    def deliver(self, run: TrackedRun, record: Record) -> None:
        """Send a record after all kept ones; keep it if the server is away."""
        if self.outbox.is_empty():
            started = time.monotonic()
            try:
                with open_quick_client(run.uri) as client:
                    send(client, run, record)
            except UnreachableError as error:
                self.outbox.append(run, record)
                self._wait_from(started)
                reason = " ".join(masked(str(error.__cause__ or error)).split())[:_LONGEST_REASON]
                logger.warning(
                    "The MLflow server at %s is away (%s). The run goes on; what cannot be sent is kept in %s and sent "
                    "later.",
                    masked(run.uri),
                    reason,
                    self.outbox.folder,
                )
            return
        self.outbox.append(run, record)
        if time.monotonic() >= self._next_try:
            self.flush(run)

    def flush(self, run: TrackedRun) -> None:
        """Send what is kept, unless the server is away or, as after the loss of its database, rejects it."""
        started = time.monotonic()
        try:
            with open_quick_client(run.uri) as client:
                sent = send_kept(client, run, self.outbox)
        except TrackingError as error:
            self._wait_from(started)
            if not isinstance(error, UnreachableError) and not self._rejected:
                self._rejected = True
                logger.warning("%s. The run goes on; what was not sent stays in %s.", error, self.outbox.folder)
        else:
            self._rejected = False
            logger.info("The MLflow server is back: %s sent.", counted(sent, "kept record was", "kept records were"))

    def _wait_from(self, started: float) -> None:
        now = time.monotonic()
        self._next_try = now + max(_PAUSE_SECONDS, _PAUSE_PER_TRY * (now - started))


@cache
def _post_of(run_folder: Path) -> _Post:
    return _Post(Outbox(run_folder))


def deliver(run: TrackedRun, record: Record) -> None:
    """Send a record of a run; keep it in the run's folder if the MLflow server is away.

    Raises:
        TrackingError: The store cannot be used, or the server rejects the record.
    """
    if is_server(run.uri):
        _post_of(run.folder).deliver(run, record)
        return
    with open_client(run.uri) as client:
        send(client, run, record)


def deliver_kept(run: TrackedRun) -> None:
    """Send what is kept of a run; leave it if the server is away."""
    if not Outbox(run.folder).is_empty():
        _post_of(run.folder).flush(run)


def send_kept(client: Any, run: TrackedRun, outbox: Outbox) -> int:
    """Send all kept records in order, and return their number."""
    sent = 0
    for record in outbox.unsent():
        send(client, run, record)
        outbox.mark_sent()
        sent += 1
    outbox.clear()
    return sent
