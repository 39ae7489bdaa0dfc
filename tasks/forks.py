"""Let processes that are forked from a flow, such as DataLoader workers, exit with status 0.

In a forked process, Prefect 3.8 drops the services that send the flow's logs and events, but still waits for them at
exit, and fails with status 1. torch's DataLoader takes this for a crash, so each training on a GPU, which uses workers,
would end after its first epoch. Remove once prefect>=3.9 is required, which waits only for services that started in the
process itself.
"""

from __future__ import annotations

import concurrent.futures
from typing import Any

from prefect._internal.concurrency.services import QueueService, _QueueServiceBase


def wait_for_own_services_only() -> None:
    """Patch Prefect not to wait, in a forked process, for the services of its parent."""
    drain: Any = _QueueServiceBase._drain
    if getattr(drain, "knows_forks", False):
        return

    def drain_own(self: QueueService[Any], at_exit: bool = False) -> concurrent.futures.Future[bool]:
        if self._done_event is not None:
            return drain(self, at_exit=at_exit)
        nothing_sent: concurrent.futures.Future[bool] = concurrent.futures.Future()
        nothing_sent.set_result(False)
        return nothing_sent

    drain_own.knows_forks = True  # type: ignore[attr-defined]
    _QueueServiceBase._drain = drain_own  # type: ignore[assignment,method-assign]
