"""Runs that were killed or interrupted: the same command finds its run and resumes it."""

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
    """The exclusive right of a process to work on a command; the record names the run."""

    record: Path

    def read(self) -> str | None:
        """Return the run that an earlier process left unfinished, if any."""
        if not self.record.exists():
            return None
        return str(json.loads(self.record.read_text())["run_id"])

    def write(self, run_id: str) -> None:
        """Record the run of this command."""
        with replacing(self.record) as part:
            part.write_text(json.dumps({"run_id": run_id}) + "\n")

    def clear(self) -> None:
        """Forget the run: it has ended and must not be resumed."""
        self.record.unlink(missing_ok=True)


def can_go_on(error: Exception) -> bool:
    """Return whether a run that ended with this error may be resumed from its checkpoint by the same command.

    External causes may be gone by then: a server, a disk, a network, memory that others used. User mistakes, a
    diverged loss and bugs remain, and training starts from scratch once they are fixed.
    """
    if isinstance(error, FullDiskError):
        return True
    if isinstance(error, (MemoryError, OSError)):
        return True
    lasting = (UserMistake, TrainingError, ArithmeticError, AssertionError, AttributeError, LookupError, NameError)
    return not isinstance(error, (*lasting, NotImplementedError, TypeError, ValueError))


@contextmanager
def claim(workspace: Path, command: str) -> Iterator[Claim | None]:
    """Claim a command, any text that identifies it; yield None if a running process has claimed it.

    The claim is a lock that is released when its process ends, however it ends.
    """
    digest = hashlib.sha256(command.encode()).hexdigest()[:16]
    record = workspace / "unfinished" / f"{digest}.json"
    record.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(record.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logger.warning("Another process is working on the same params; this run starts separately.")
        yield None
        return
    try:
        yield Claim(record)
    finally:
        lock.release()
