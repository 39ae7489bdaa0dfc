"""torchrun as a child: it, and the processes that it starts, end when the one that began it is gone."""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable

from torch.distributed import run


def end_with_the_parent(asked: Callable[[], None] | None = None) -> None:
    """End at once where the parent was killed: left alone, this process would write over a run that is gone on with.

    The parent holds the other end of stdin, which is closed when it is gone, however it went. A byte that it writes
    asks for a checkpoint, and one of the processes reads it.

    Args:
        asked: What to do on that byte; None leaves it to the processes that share this stdin.
    """
    threading.Thread(target=_wait_and_end, args=(asked,), daemon=True).start()


def _wait_and_end(asked: Callable[[], None] | None) -> None:
    # Not by sys.stdin: Python cannot shut down while a thread waits in it.
    if asked is None:
        gone = select.poll()
        gone.register(0, 0)  # no bytes, only that the other end is closed
        gone.poll()
    else:
        while os.read(0, 1):
            asked()
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    end_with_the_parent()
    run.main()
