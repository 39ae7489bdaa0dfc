"""Records that could not be sent to the MLflow server, kept in the run's folder.

    runs/RUN_ID/outbox/run.json        the run, and the server that it belongs to
    runs/RUN_ID/outbox/records.jsonl   the records, in order
    runs/RUN_ID/outbox/sent            the number of records that were sent since
    runs/RUN_ID/outbox/files           copies of files that other runs may replace

A record is on the disk before `append` returns. A line without its end is from a killed process, and is dropped.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from audiocls.files import replacing, told_when_full, without_user
from audiocls.tracking.run import TrackedRun

Record = Mapping[str, Any]


class Outbox:
    """The unsent records of one run."""

    def __init__(self, run_folder: Path) -> None:
        self.run_folder = run_folder
        self.folder = run_folder / "outbox"
        self._records = self.folder / "records.jsonl"
        self._sent = self.folder / "sent"

    def __len__(self) -> int:
        return sum(1 for _ in self.unsent())

    def is_empty(self) -> bool:
        """Return whether everything was sent."""
        return not self._records.exists()

    def append(self, run: TrackedRun, record: Record) -> None:
        """Keep a record until `mark_sent`; files outside of the run's folder are copied."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with told_when_full(self.folder, "records for MLflow were kept"):
            self._write_run(run)
            if self.is_empty():
                self._sent.unlink(missing_ok=True)  # of records that were sent, by a process killed in `clear`
            if "path" in record:
                record = {**record, "path": self._keep(Path(record["path"]))}
            with self._records.open("ab+") as file:
                self._drop_torn_line(file)
                file.write(json.dumps(record).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())

    def unsent(self) -> Iterator[Record]:
        """Yield the records that were not sent yet, in order."""
        yield from islice(self._all(), self._num_sent(), None)

    def has_end(self) -> bool:
        """Return whether one of the records, sent or not, is the end of the run."""
        return any(record["kind"] == "end" for record in self._all())

    def mark_sent(self) -> None:
        """Note that the first unsent record was sent."""
        sent = self._num_sent() + 1
        with replacing(self._sent) as part:
            part.write_text(str(sent))

    def clear(self) -> None:
        """Remove everything, once it was sent."""
        self._records.unlink(missing_ok=True)  # first: without it, the rest is ignored
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self) -> TrackedRun:
        """Return the run."""
        said = json.loads((self.folder / "run.json").read_text(encoding="utf-8"))
        return TrackedRun(said["uri"], said["experiment_id"], said["run_id"], self.run_folder)

    @contextmanager
    def owned(self, *, wait: bool = False) -> Iterator[bool]:
        """Own the outbox while the block runs; unless asked to wait, yield False if a running process owns it."""
        self.run_folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.run_folder / "outbox.lock")
        try:
            lock.acquire(timeout=-1 if wait else 0)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def _all(self) -> Iterator[Record]:
        if self.is_empty():
            return
        with self._records.open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    yield json.loads(line)

    def _num_sent(self) -> int:
        return int(self._sent.read_text()) if self._sent.exists() else 0

    def _write_run(self, run: TrackedRun) -> None:
        file = self.folder / "run.json"
        if not file.exists():
            facts = {"uri": without_user(run.uri)[0], "experiment_id": run.experiment_id, "run_id": run.run_id}
            with replacing(file) as part:
                part.write_text(json.dumps(facts) + "\n", encoding="utf-8")

    def _keep(self, path: Path) -> str:
        """Copy a file or folder unless it is in the run's folder; return its path below that folder."""
        below, path = self.run_folder.absolute(), path.absolute()
        if not path.is_relative_to(below):
            files = self.folder / "files"
            copy = files / str(len(list(files.iterdir())) if files.exists() else 0) / path.name
            copy.parent.mkdir(parents=True)
            if path.is_dir():
                shutil.copytree(path, copy)
            else:
                shutil.copyfile(path, copy)
            path = copy.absolute()
        return path.relative_to(below).as_posix()

    @staticmethod
    def _drop_torn_line(file: Any) -> None:
        end = file.seek(0, os.SEEK_END)
        if not end:
            return
        file.seek(end - 1)
        if file.read(1) != b"\n":
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)
