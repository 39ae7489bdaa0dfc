"""torchrun as a child: it, and the processes that it starts, end when the one that began it is gone."""

from __future__ import annotations

import os
import signal
import threading

from torch.distributed import run


def end_with_the_parent() -> None:
    """End at once where the parent was killed: left alone, this process would write over a run that is gone on with.

    The parent holds the other end of stdin, which is closed when it is gone, however it went.
    """
    threading.Thread(target=_wait_and_end, daemon=True).start()


def _wait_and_end() -> None:
    # Not by sys.stdin: Python cannot shut down while a thread waits in it.
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    end_with_the_parent()
    run.main()
