"""Lets a process that is forked off a flow end well, such as a data loader's worker.

Prefect 3.8 forgets in a forked process the services that send the flow's logs and events, but waits for them all the
same when that process ends, and fails. Its exit status is 1 then, which torch's data loader takes for a crash: each
training on a GPU, whose batches are read by workers, would end with its first pass. It goes with prefect>=3.9, which
waits for none that did not begin in the process itself.
"""

from __future__ import annotations

import concurrent.futures
from typing import Any

from prefect._internal.concurrency.services import QueueService, _QueueServiceBase


def wait_for_own_services_only() -> None:
    """Teach Prefect's services not to wait, in a forked process, for those that stayed behind."""
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
