"""The journal of a prediction: a folder beside the output with the answers so far, which a killed run goes on from.

OUT.journal/settings.json     what the answers depend on besides the recordings
OUT.journal/*.jsonl           a group of files a line: its key and its answers; each writer has a file of its own
"""

from __future__ import annotations

import fcntl
import json
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

from audiocls.errors import StoreError
from audiocls.files import replacing, told_when_full
from audiocls.inference.answers import Answer

_SETTINGS: Final = "settings.json"
_KEPT: Final = "answers.jsonl"


def journal_of(out: Path) -> Path:
    """Return the folder of an output's journal."""
    return out.with_name(f"{out.name}.journal")


@contextmanager
def locked_journal(out: Path) -> Iterator[Path]:
    """Hold the journal of an output; the lock ends with the process that holds it.

    Raises:
        StoreError: Another run holds it.
    """
    folder = journal_of(out)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StoreError(f"{out}: another run is writing it. Wait for it, or choose another --out.") from error
        yield folder


class JournalWriter:
    """Appends the answers of groups to a file of its own."""

    def __init__(self, folder: Path) -> None:
        """Write to a new file of a journal."""
        self._folder = folder
        self._file = (folder / f"{uuid.uuid4().hex}.jsonl").open("ab")

    def __enter__(self) -> JournalWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, key: str, answers: Sequence[Answer]) -> None:
        """Write the answers of a group.

        Raises:
            FullDiskError: There is no space left.
        """
        with told_when_full(self._folder, "answers were written"):
            self._file.write(json.dumps([key, answers]).encode() + b"\n")
            self._file.flush()


class Journal:
    """The answers of a journal by the keys of their groups; what is in memory is where each line begins."""

    def __init__(self, folder: Path, fingerprint: dict[str, Any]) -> None:
        """Open a journal; answers that are not of this fingerprint are deleted."""
        self.folder = folder
        settings = folder / _SETTINGS
        if kept_fingerprint(folder) != fingerprint:
            for part in folder.glob("*.jsonl"):
                part.unlink()
            with replacing(settings) as written:
                written.write_text(json.dumps(fingerprint, indent=2) + "\n")
        self._places: dict[str, tuple[Path, int]] = {}
        self.refresh()

    def refresh(self) -> None:
        """Look again for what writers have added."""
        self._places = {}
        for part in sorted(self.folder.glob("*.jsonl")):
            with part.open("rb") as lines:
                self._places.update((key, (part, start)) for key, start in _lines_of(lines))

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def read(self, keys: Sequence[str]) -> Iterator[list[Answer]]:
        """Yield the answers of groups, in the order of the keys."""
        opened: dict[Path, BinaryIO] = {}
        try:
            for key in keys:
                part, start = self._places[key]
                if part not in opened:
                    opened[part] = part.open("rb")
                opened[part].seek(start)
                yield [Answer(*answer) for answer in json.loads(opened[part].readline())[1]]
        finally:
            for file in opened.values():
                file.close()

    def keep(self, keys: Sequence[str]) -> None:
        """Keep the answers of these groups in one file, and delete the others."""
        with replacing(self.folder / _KEPT) as written, written.open("wb") as lines:
            for key, answers in zip(keys, self.read(keys), strict=True):
                lines.write(json.dumps([key, answers]).encode() + b"\n")
        for part in self.folder.glob("*.jsonl"):
            if part.name != _KEPT:
                part.unlink()
        self.refresh()


def kept_fingerprint(folder: Path) -> dict[str, Any]:
    """Return what the answers in a journal depend on; nothing if there are none."""
    try:
        kept = json.loads((folder / _SETTINGS).read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def _lines_of(lines: BinaryIO) -> Iterator[tuple[str, int]]:
    """Yield the key and the place of each whole line; a writer that was killed leaves half of its last one."""
    start = 0
    for line in lines:
        try:
            key, _ = json.loads(line) if line.endswith(b"\n") else (None, None)
        except ValueError:
            key = None
        if key is not None:
            yield key, start
        start += len(line)
