"""Runs that were killed or interrupted: the same command finds its run again, and goes on with it."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from audiocls.errors import FullDiskError, TrainingError, UserMistake
from audiocls.files import replacing

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to be the one process that works on a command; the record names the run it works on."""

    record: Path

    def read(self) -> str | None:
        """Return the run that an earlier process left unfinished, if there is one."""
        if not self.record.exists():
            return None
        return str(json.loads(self.record.read_text())["run_id"])

    def write(self, run_id: str) -> None:
        """Note which run is being worked on."""
        with replacing(self.record) as part:
            part.write_text(json.dumps({"run_id": run_id}) + "\n")

    def clear(self) -> None:
        """Forget the run: it has ended, and is not to be gone on with."""
        self.record.unlink(missing_ok=True)


def can_go_on(error: Exception) -> bool:
    """Tell whether the run that an error ended may go on from its checkpoint when the same command is given again.

    What ended it from outside may be gone by then: a server, a disk, a network, memory that others used. A mistake of
    the user, a loss that diverged and a fault of the code stay, and training starts anew once they are mended.
    """
    if isinstance(error, FullDiskError):
        return True
    if isinstance(error, (MemoryError, OSError)):
        return True
    lasting = (UserMistake, TrainingError, ArithmeticError, AssertionError, AttributeError, LookupError, NameError)
    return not isinstance(error, (*lasting, NotImplementedError, TypeError, ValueError))


@contextmanager
def claim(workspace: Path, command: str) -> Iterator[Claim | None]:
    """Claim a command, whatever text tells it from others; yield None where a living process works on the same.

    The claim is a lock that ends with its process, however that ends.
    """
    digest = hashlib.sha256(command.encode()).hexdigest()[:16]
    record = workspace / "unfinished" / f"{digest}.json"
    record.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(record.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logger.warning("Another process works on the same params; this run starts for itself.")
        yield None
        return
    try:
        yield Claim(record)
    finally:
        lock.release()
