"""Runs that MLflow knows, found by id, by the beginning of an id, or by name, and their files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from audiocls.errors import ParamsError, name_some
from audiocls.files import database_file, masked
from audiocls.tracking.client import make_ready, open_client

_ID: Final = re.compile(r"[0-9a-f]{4,32}")
_MOST_FOUND: Final = 50


@dataclass(frozen=True, slots=True)
class KnownRun:
    """A run as MLflow has it."""

    uri: str
    run_id: str
    name: str
    params: Mapping[str, str]  # flat: `training.epochs`
    tags: Mapping[str, str]


def find_run(asked: str, uri: str) -> KnownRun | None:
    """Return the run with an id, whose id begins with a text, or with a name; None if there is none.

    Args:
        asked: Id, its first four or more characters, or name.
        uri: Of the store.

    Raises:
        ParamsError: Several runs match.
        TrackingError: The store cannot be used.
    """
    file = database_file(uri)
    if file is not None and not file.exists():
        return None
    make_ready(uri)
    with open_client(uri) as client:
        experiments = [each.experiment_id for each in client.search_experiments()]
        filters = [f"attributes.run_id LIKE '{asked}%'"] if _ID.fullmatch(asked) else []
        if "'" not in asked:  # MLflow's filters have no escapes
            filters.append(f"attributes.run_name = '{asked}'")
        for text in filters:
            found = client.search_runs(experiments, text, max_results=_MOST_FOUND)
            if len(found) > 1:
                raise ParamsError(
                    f"{asked}: {len(found)} runs in {masked(uri)} match: "
                    f"{name_some(f'{each.info.run_id} ({each.info.run_name})' for each in found)}. Give an id in full."
                )
            if found:
                return _known(found[0], uri)
    return None


def download_file(run: KnownRun, path: str, folder: Path) -> Path | None:
    """Download a file of a run's artifacts into a folder; return None if the run has no such file."""
    with open_client(run.uri) as client:
        parent = path.rpartition("/")[0]
        if path not in [each.path for each in client.list_artifacts(run.run_id, parent or None)]:
            return None
        folder.mkdir(parents=True, exist_ok=True)
        return Path(client.download_artifacts(run.run_id, path, str(folder)))


def _known(run: Any, uri: str) -> KnownRun:
    return KnownRun(uri, run.info.run_id, run.info.run_name, dict(run.data.params), dict(run.data.tags))
