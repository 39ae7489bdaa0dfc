"""torchrun as a child process: it ends with its parent, and so do the processes that it starts."""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable

from torch.distributed import run


def end_with_the_parent(asked: Callable[[], None] | None = None) -> None:
    """End this process if the parent is killed. Otherwise it would overwrite the files of a resumed run.

    The parent holds the other end of stdin, which is closed when the parent ends in any way. A byte from the parent
    requests a checkpoint; one of the processes reads it.

    Args:
        asked: Called on that byte; None leaves it to the processes that share this stdin.
    """
    threading.Thread(target=_wait_and_end, args=(asked,), daemon=True).start()


def _wait_and_end(asked: Callable[[], None] | None) -> None:
    # Not sys.stdin: Python cannot shut down while a thread waits in it.
    if asked is None:
        gone = select.poll()
        gone.register(0, 0)  # only the closing of the other end, no bytes
        gone.poll()
    else:
        while os.read(0, 1):
            asked()
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    end_with_the_parent()
    run.main()
