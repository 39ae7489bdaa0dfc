"""Fill stores in forked children: killed with SIGKILL at one touch of a file after another, or several at a time.

    python disturbed_fills.py FOLDER     with FOLDER/manifest and FOLDER/overlapping, two manifests

FOLDER/whole is filled undisturbed, FOLDER/<n> by a run that is killed at its n-th touch and by a second one. Every
third of these second runs is killed in its turn, and a third run ends it. FOLDER/same is filled by three runs at the
same time, FOLDER/both by two on each manifest. Prints as JSON what lay there after each kill.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pyarrow.dataset  # noqa: F401, here once and not in every child

from audiocls.params.run import AudioParams
from audiocls.waveforms import shards, store as waveforms

TOUCHES = {"tempfile.mkstemp", "os.rename"}


def start(manifest: Path, workspace: Path, kill_at: int | None = None) -> int:
    """Fill in a child; return its process id."""
    child = os.fork()
    if not child:
        if kill_at is not None:
            kill_at_touch(kill_at, manifest.parent)
        plan = waveforms.plan_store(manifest, AudioParams(), workspace)
        for shard in plan.shards:
            shards.write_shard(shard, AudioParams())
        os._exit(0)
    return child


def has_ended_well(child: int) -> bool:
    """Wait for a child; return whether it came to its end and was not killed."""
    _, status = os.waitpid(child, 0)
    assert status == 0 or os.WTERMSIG(status) == signal.SIGKILL, status
    return status == 0


def kill_at_touch(number: int, below: Path) -> None:
    """Count what is done to files of ours, and kill this process as it begins the one of this number."""
    left = number

    def count(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        touched = event in TOUCHES and str(arguments[0]).startswith(str(below))
        if touched or (event == "open" and str(arguments[0]).endswith(".wav")):
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)


def what_is_there(workspace: Path) -> list[str]:
    """Folders of the store with what they hold, unfinished files as "part"."""
    files = [path for path in workspace.rglob("*") if path.is_file()]
    return sorted({f"{p.parent.name}/{'part' if p.suffix == '.part' else p.stem.split('-')[-1]}" for p in files})


def kill_everywhere(folder: Path) -> list[list[str]]:
    """Kill at the first touch, the second, and so on until one is not reached."""
    left: list[list[str]] = []
    manifest, workspace = folder / "manifest", folder / "0"
    while not has_ended_well(start(manifest, workspace, len(left))):
        left.append(what_is_there(workspace))
        if len(left) % 3 == 1:
            has_ended_well(start(manifest, workspace, len(left) // 2 + 2))
        assert has_ended_well(start(manifest, workspace))
        workspace = folder / str(len(left))
    return left


def main(folder: Path) -> None:
    """Fill all the stores."""
    waveforms.SHARD_CLIPS, shards.ROW_GROUP_BYTES = 3, 1
    manifest, overlapping = folder / "manifest", folder / "overlapping"
    assert has_ended_well(start(manifest, folder / "whole"))
    left = kill_everywhere(folder)
    for name, manifests in (("same", 3 * [manifest]), ("both", 2 * [manifest, overlapping])):
        children = [start(each, folder / name) for each in manifests]
        assert all(map(has_ended_well, children))
    sys.stdout.write(json.dumps(left))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
