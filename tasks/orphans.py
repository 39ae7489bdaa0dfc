"""Ends the worker processes of a command that was killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from multiprocessing.process import BaseProcess


def end_with_the_parent() -> None:
    """Let this worker process end when the process that started it is gone.

    A killed process runs no clean-up, and a worker of `concurrent.futures` then waits for work forever.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_wait_and_end, args=(parent,), daemon=True).start()


def _wait_and_end(parent: BaseProcess) -> None:
    parent.join()
    os.kill(os.getpid(), signal.SIGKILL)
