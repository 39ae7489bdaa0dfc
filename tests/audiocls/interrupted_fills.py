"""Fill stores in forked children, and kill each with SIGKILL when it is about to touch a file for the n-th time.

    python interrupted_fills.py MANIFEST FOLDER

FOLDER/whole is filled undisturbed, FOLDER/<n> by a run that is killed at its n-th touch and by a second one. Every
third of these second runs is killed in its turn, and a third run ends it. Prints as JSON what lay there after each kill.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pyarrow.dataset  # noqa: F401, here once and not in every child

from audiocls import waveforms
from audiocls.params import AudioParams

TOUCHES = {"tempfile.mkstemp", "os.rename"}

waveforms.SHARD_CLIPS, waveforms.ROW_GROUP_CLIPS = 3, 1


def fill(manifest: Path, workspace: Path, kill_at: int | None) -> bool:
    """Fill in a child; return whether it came to its end."""
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        assert status == 0 or os.WTERMSIG(status) == signal.SIGKILL, status
        return status == 0
    if kill_at is not None:
        kill_at_touch(kill_at, manifest.parent)
    plan = waveforms.plan_store(manifest, AudioParams(), workspace)
    for shard in plan.shards:
        waveforms.write_shard(shard, AudioParams())
    os._exit(0)


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


def main(manifest: Path, folder: Path) -> None:
    """Fill once undisturbed, then with a kill at the first touch, the second, and so on until one is not reached."""
    fill(manifest, folder / "whole", None)
    left, number = [], 0
    while not fill(manifest, folder / str(number), number):
        left.append(what_is_there(folder / str(number)))
        if number % 3 == 0:
            fill(manifest, folder / str(number), number // 2 + 2)
        assert fill(manifest, folder / str(number), None)
        number += 1
    sys.stdout.write(json.dumps(left))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
