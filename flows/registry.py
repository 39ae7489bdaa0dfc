"""Register, promote, roll back and list the versions of a model: `audiocls register|promote|rollback|history`."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from audiocls import tracking
from audiocls.errors import ParamsError
from audiocls.registry import Entry, Registry, in_use, version_tags


@dataclass(frozen=True, slots=True)
class Place:
    """Where the registered models are."""

    workspace: str
    uri: str | None

    @property
    def store(self) -> str:
        """The URI of the MLflow store."""
        own = f"sqlite:///{Path(self.workspace).absolute() / 'mlflow.db'}"
        return self.uri or os.environ.get("MLFLOW_TRACKING_URI") or own

    def registry(self, model: str) -> Registry:
        """Return the registry of a model."""
        return Registry(model, self.store, Path(self.workspace) / "registry")


def register_command(place: Place, asked: str, model: str | None, why: str) -> None:
    """Register the model of a run as the challenger."""
    run = tracking.find_run(asked, place.store)
    if run is None:
        raise ParamsError(f"{asked}: {place.store} knows no such run.")
    name = model or run.params.get("experiment") or "audiocls"
    version = place.registry(name).register(run.run_id, version_tags(run), why)
    _say(f"{name}: run {run.run_id} is version {version.number}, and the challenger.")
    _print({"model": name, "version": version.number, "run_id": run.run_id, "uri": version.uri})


def promote_command(place: Place, model: str, number: int | None, why: str) -> None:
    """Put a version into use by hand."""
    registry = place.registry(model)
    if number is None:
        challenger = registry.challenger()
        if challenger is None:
            raise ParamsError(f"{model}: there is no challenger; name a version with --version.")
        number = challenger.number
    entry = registry.promote(number, why)
    _say(_moved(model, entry))
    _print({"model": model} | entry.as_dict() | {"outcome": "done"})


def rollback_command(place: Place, model: str, why: str) -> None:
    """Put the version before the champion into use again."""
    entry = place.registry(model).roll_back(why)
    _say(_moved(model, entry))
    _print({"model": model} | entry.as_dict() | {"outcome": "done"})


def history_command(place: Place, model: str, on: str | None) -> None:
    """Show the ledger of a model, and which version was in use on a day."""
    entries = place.registry(model).history()
    at = _end_of(on)
    version = in_use(entries, at)
    table = Table("When (UTC)", "Version", "What", "Instead of", "Who", "Why", title=model, title_justify="left")
    for entry in entries:
        replaced = "" if entry.replaced is None else str(entry.replaced)
        done = entry.action if entry.outcome == "done" else f"{entry.action} ({entry.outcome or 'unfinished'})"
        table.add_row(f"{entry.at:%Y-%m-%d %H:%M:%S}", str(entry.version), done, replaced, entry.who, entry.why)
    console = Console(stderr=True)
    console.print(table)
    when = "now" if on is None else f"at the end of {on}"
    _say(f"In use {when}: {'no version' if version is None else f'version {version}'}.")
    _print({"model": model, "in_use": version, "entries": [entry.as_dict() for entry in entries]})


def _end_of(on: str | None) -> datetime:
    if on is None:
        return datetime.now(UTC)
    try:
        day = datetime.fromisoformat(on)
    except ValueError as error:
        raise ParamsError(f"--on {on}: write a day as 2026-11-28, or a time as 2026-11-28T14:00.") from error
    day = day if len(on) > len("2026-11-28") else datetime.combine(day, time.max)
    return day if day.tzinfo else day.replace(tzinfo=UTC)


def _moved(model: str, entry: Entry) -> str:
    instead = "" if entry.replaced is None else f", instead of version {entry.replaced}"
    return f"{model}: version {entry.version} is the champion{instead}."


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


def _print(result: dict[str, Any]) -> None:
    print(json.dumps(result))
