"""The ledger of a registered model: who put which version into use, when, why, and by which figures.

It lies beside the aliases, as tags of the registered model: whoever reaches the registry can read it. Entries are only
ever added. An entry is written before the aliases move, and its outcome after that, so that a killed process leaves an
entry without an outcome, and never a change without an entry.
"""

from __future__ import annotations

import getpass
import json
import os
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal

from mlflow import MlflowClient

Action = Literal["registered", "promoted", "rolled back", "kept"]
"""`kept`: a challenger was compared with the champion, and the champion stays."""

Outcome = Literal["done", "abandoned"]

_ENTRY: Final = "audiocls.ledger."
_OUTCOME: Final = "audiocls.ledger-outcome."


@dataclass(frozen=True, slots=True)
class Entry:
    """A decision on the versions of a model."""

    key: str
    at: datetime
    action: Action
    version: int
    replaced: int | None
    """The champion until then; None: there was none, or none was replaced."""
    who: str
    why: str
    figures: Mapping[str, Any] = field(default_factory=dict)
    outcome: Outcome | None = None
    """None: the process that wrote it has not finished, or was killed."""

    @property
    def moves_the_champion(self) -> bool:
        """Whether it puts a version into use."""
        return self.action in ("promoted", "rolled back")

    @property
    def is_of_this_machine(self) -> bool:
        """Whether a process of this machine wrote it."""
        return self.who.rpartition("@")[2] == socket.gethostname()

    def as_dict(self) -> dict[str, Any]:
        """Return what is printed as JSON."""
        return {
            "at": self.at.isoformat(timespec="seconds"), "action": self.action, "version": self.version,
            "replaced": self.replaced, "who": self.who, "why": self.why, "figures": dict(self.figures),
            "outcome": self.outcome,
        }  # fmt: skip


def write_entry(
    client: MlflowClient,
    name: str,
    action: Action,
    version: int,
    replaced: int | None,
    why: str,
    figures: Mapping[str, Any],
) -> Entry:
    """Add an entry without an outcome."""
    at = datetime.now(UTC)
    key = f"{at:%Y%m%dT%H%M%S.%f}Z-{secrets.token_hex(4)}"
    entry = Entry(key, at, action, version, replaced, _user(), why, figures)
    client.set_registered_model_tag(name, _ENTRY + key, json.dumps(entry.as_dict() | {"at": at.isoformat()}))
    return entry


def settle_entry(client: MlflowClient, name: str, entry: Entry, outcome: Outcome) -> None:
    """Say how an entry ended."""
    client.set_registered_model_tag(name, _OUTCOME + entry.key, outcome)


def read_ledger(client: MlflowClient, name: str) -> list[Entry]:
    """Return all entries, the oldest first."""
    tags = client.get_registered_model(name).tags
    found = []
    for tag, text in tags.items():
        if tag.startswith(_ENTRY):
            key = tag.removeprefix(_ENTRY)
            said = json.loads(text)
            said |= {"at": datetime.fromisoformat(said["at"]), "outcome": tags.get(_OUTCOME + key)}
            found.append(Entry(key=key, **said))
    return sorted(found, key=lambda entry: entry.key)


def in_use(entries: list[Entry], at: datetime) -> int | None:
    """Return the version that was the champion at a time; None: there was none."""
    moves = [each for each in entries if each.moves_the_champion and each.outcome == "done" and each.at <= at]
    return moves[-1].version if moves else None


def _user() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
