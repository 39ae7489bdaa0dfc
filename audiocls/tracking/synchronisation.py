"""Sending what runs kept while their MLflow server was away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from audiocls.errors import TrackingError, UnreachableError
from audiocls.tracking.client import open_client
from audiocls.tracking.delivery import send_kept
from audiocls.tracking.outbox import Outbox
from audiocls.tracking.run import TrackedRun
from audiocls.tracking.store import is_server, probe


@dataclass(frozen=True, slots=True)
class Unsent:
    """What a run keeps because its MLflow server is away."""

    records: int
    folder: str


@dataclass(frozen=True, slots=True)
class Synced:
    """What was sent of one run, and what was not."""

    run_id: str
    sent: int
    unsent: int
    reason: str | None  # why records are unsent


def unsent(run: TrackedRun) -> Unsent | None:
    """Return what a run keeps; None if everything was sent."""
    outbox = Outbox(run.folder)
    return None if outbox.is_empty() else Unsent(len(outbox), str(outbox.folder))


def sync(workspace: Path, uri: str | None = None) -> list[Synced]:
    """Send what the runs of a workspace kept, and end the runs that have ended since.

    Args:
        workspace: That of the runs.
        uri: A server to try before the one that the run was started on, which is recorded without its credentials.

    Returns:
        Each run that kept anything.
    """
    outboxes = [Outbox(folder) for folder in sorted((workspace / "runs").glob("*/"))]
    servers = [uri] if uri is not None and is_server(uri) else []
    return [_sync_run(outbox, servers) for outbox in outboxes if not outbox.is_empty()]


def _sync_run(outbox: Outbox, servers: Sequence[str]) -> Synced:
    run = outbox.run()
    before = len(outbox)
    with outbox.owned() as ours:
        if not ours:
            return Synced(run.run_id, 0, before, "the run is in progress, and sends them itself")
        try:
            found = _find_home(run, servers)
            with open_client(found.uri) as client:
                ended = outbox.has_end()
                send_kept(client, found, outbox)
                if not ended:  # The process was killed. The same command resumes the run.
                    client.set_terminated(found.run_id, "KILLED")
        except TrackingError as error:
            left = len(outbox)
            return Synced(run.run_id, before - left, left, str(error))
    return Synced(run.run_id, before, 0, None)


def _find_home(run: TrackedRun, servers: Sequence[str]) -> TrackedRun:
    """Return the run at the first server that answers and knows it.

    Raises:
        TrackingError: There is none.
    """
    reasons: list[TrackingError] = []
    for uri in dict.fromkeys([*servers, run.uri]):
        try:
            probe(uri)
            with open_client(uri) as client:
                client.get_run(run.run_id)
        except TrackingError as error:
            reasons.append(error)
        else:
            return TrackedRun(uri, run.experiment_id, run.run_id, run.folder)
    raise next((error for error in reasons if not isinstance(error, UnreachableError)), reasons[0])
