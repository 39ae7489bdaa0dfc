from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its name, hidden ones too."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory, write_tone, list_table):
    """A folder with one store a kill, and what lay there after each kill."""
    folder = tmp_path_factory.mktemp("interrupted")
    paths = [write_tone(folder / "audio" / f"{i}.wav", 200 + i, seconds=0.06) for i in range(3)]
    paths.append(folder / "audio" / "copy.wav")
    paths[-1].write_bytes(paths[0].read_bytes())
    paths.append(folder / "audio" / "broken.wav")
    paths[-1].write_bytes(b"no audio")
    manifest = list_table(folder, [(path, "x") for path in paths])
    script = Path(__file__).with_name("interrupted_fills.py")
    arguments = [sys.executable, script, manifest.rename(folder / "manifest"), folder / "stores"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "stores", json.loads(done.stdout)


def test_a_fill_that_is_killed_anywhere_and_run_again_leaves_what_an_undisturbed_one_leaves(interrupted):
    stores, kills = interrupted
    whole = tree(stores / "whole")
    assert len([name for name in whole if "/shards/" in name]) == 2
    for number in range(len(kills)):
        assert tree(stores / str(number)) == whole, f"killed at touch {number}, with {kills[number]}"


def test_the_kills_were_at_every_stage(interrupted):
    _, kills = interrupted
    assert len(kills) > 15
    stages = {
        "before anything": lambda there: not there,
        "before the plan": lambda there: not any(name.startswith("plans/") for name in there),
        "between the tables of the plan": lambda there: {n for n in there if "plans/" in n} == {"plans/5.known"},
        "between plan and shard": lambda there: "plans/5" in there and not any("shards/" in name for name in there),
        "in the first shard": lambda there: {n for n in there if "shards/" in n} == {"shards/part"},
        "between shard and file table": lambda there: "shards/000003" in there and "files/000003" not in there,
        "in a file table": lambda there: "files/part" in there,
        "between shards": lambda there: (
            {n for n in there if n.startswith("shards/")} == {"shards/000000"} and "files/000000" in there
        ),
        "in the last shard": lambda there: {"shards/part", "files/000000"} <= set(there),
    }
    for stage, is_there in stages.items():
        assert any(map(is_there, kills)), stage
