"""List the stores of a params file, one per generation of settings, and remove unused ones.

    audiocls stores PARAMS.yaml [--remove-unused-days DAYS [--yes]] [key.path=value ...]

These are the waveform stores, the workspace's copies of remote ones, and the feature stores. Without --yes, nothing is
removed; the stores that would be removed are printed. The waveform store of the params file itself is never removed,
nor is one that a run is filling: one that was modified within a day or is being written to. Only a run knows which
feature store belongs to the params file. Feature stores are therefore removed by their last use alone, and the next run
that needs one fills it again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from audiocls.batches import features_folder
from audiocls.errors import AudioclsError, UserMistake, counted
from audiocls.files import Place, living_parts, masked, name_of_home, open_table, tables_in
from audiocls.params import AudioParams
from audiocls.params_file import load_params
from audiocls.waveforms import name_store, stores_folder

# A run that fills a store modifies it with every shard, and no shard takes a day.
_FILLING_SECONDS: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Generation:
    """One store: its settings and its contents."""

    store: Place
    settings: dict[str, Any]
    holds: str
    recordings: int
    size_bytes: int
    last_use: datetime
    in_use: str | None  # why it must be kept, whatever its age


def list_generations(params: AudioParams, workspace: Path) -> list[Generation]:
    """Return every waveform store and every feature store, the most recently used first."""
    current = str(name_store(params, workspace)[0])
    here = stores_folder(params.model_copy(update={"store": None}), workspace)
    waveforms = [store for store in _stores_in(stores_folder(params, workspace)) if name_of_home(store) is None]
    copies = [store for store in _stores_in(here) if name_of_home(store) is not None]
    features = _stores_in(features_folder(workspace.absolute()))
    found = [_look_into(store, current) for store in (*waveforms, *copies, *features)]
    return sorted(found, key=lambda generation: generation.last_use, reverse=True)


def _stores_in(folder: Place) -> list[Place]:
    return [path for path in folder.iterdir() if (path / "settings.json").exists()] if folder.exists() else []


def unused(generations: Sequence[Generation], days: float) -> list[Generation]:
    """Return the stores that were not used for this many days and may be removed."""
    before = time.time() - days * 86_400
    return [g for g in generations if g.in_use is None and g.last_use.timestamp() < before]


def remove(generation: Generation) -> None:
    """Remove a store: its settings first, so that after an interruption the rest is not taken for a store."""
    (generation.store / "settings.json").unlink()
    if isinstance(generation.store, Path):
        shutil.rmtree(generation.store)
    else:
        generation.store.fs.rm(generation.store.path, recursive=True)


def _look_into(store: Place, current: str) -> Generation:
    files = [path for path in store.rglob("*") if path.is_file()]
    states = [path.stat() for path in files]
    last_use = max(state.st_mtime for state in states)
    rows = 0
    for shard in tables_in(store / "shards"):
        with open_table(shard) as table:
            rows += table.metadata.num_rows
    size = sum(state.st_size for state in states)
    settings = json.loads((store / "settings.json").read_text())
    home = name_of_home(store)
    is_current = (home or str(store)) == current
    in_use = "of this params file" if is_current else _in_use_by_a_run(store, last_use)
    holds = _describe_rows(rows, settings) if home is None else f"copies of {home}"
    return Generation(store, settings, holds, rows, size, datetime.fromtimestamp(last_use, UTC), in_use)


def _describe_rows(rows: int, settings: dict[str, Any]) -> str:
    return (
        f"features of {counted(rows, 'clip or window', 'clips or windows')}"
        if "extractor" in settings
        else counted(rows, "recording")
    )


def _in_use_by_a_run(store: Place, last_use: float) -> str | None:
    if isinstance(store, Path) and any(living_parts(folder) for folder in (store, *store.glob("*/"))):
        return "being written to"
    return "modified within a day" if time.time() - last_use < _FILLING_SECONDS else None


def _describe(generation: Generation) -> str:
    # Show only the class of an extractor: it has many settings, and some of them are tables.
    named = {k: v.get("class") if k == "extractor" else v for k, v in generation.settings.items()}
    settings = ", ".join(f"{name} {value}" for name, value in named.items())
    stays = f"; kept: {generation.in_use}" if generation.in_use else ""
    return masked(
        f"{generation.store}\n    {settings}\n    {generation.holds}, "
        f"{generation.size_bytes / 1e6:,.1f} MB, last used {generation.last_use:%Y-%m-%d %H:%M} UTC{stays}\n"
    )


def _run(arguments: argparse.Namespace) -> None:
    params = load_params(arguments.params_file, arguments.overrides)
    generations = list_generations(params.audio, params.workspace)
    sys.stdout.writelines(map(_describe, generations))
    if arguments.remove_unused_days is None:
        return
    old = unused(generations, arguments.remove_unused_days)
    if arguments.yes:
        for generation in old:
            remove(generation)
    megabytes = sum(generation.size_bytes for generation in old) / 1e6
    done = "removed" if arguments.yes else "would be removed, with --yes"
    sys.stdout.write(f"{len(old)} of {counted(len(generations), 'store')}, {megabytes:,.1f} MB, {done}: ")
    sys.stdout.write(f"{', '.join(generation.store.name for generation in old) or 'none'}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """List and remove stores; return exit status 0, 2 for a user mistake or 1 for any other error."""
    parser = argparse.ArgumentParser(prog="audiocls stores", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("params_file", metavar="PARAMS.yaml")
    parser.add_argument("overrides", nargs="*", metavar="key.path=value")
    parser.add_argument("--remove-unused-days", type=float, metavar="DAYS", help="remove stores not used for this long")
    parser.add_argument("--yes", action="store_true", help="remove the stores; without it, only list them")
    try:
        _run(parser.parse_intermixed_args(argv))
    except AudioclsError as error:
        sys.stderr.write(f"error: {masked(str(error))}\n")
        return 2 if isinstance(error, UserMistake) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
