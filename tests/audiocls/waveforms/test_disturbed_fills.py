from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import disturbed_fills
import pandas as pd
import pytest

from audiocls.decoding.recording import decode
from audiocls.params.run import AudioParams
from audiocls.waveforms.mapped import MappedWaveforms
from audiocls.waveforms.store import look_up, plan_store


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its name, hidden ones too."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def disturbed(tmp_path_factory, write_tone, list_table):
    """The folder that `disturbed_fills.py` filled, and what lay there after each kill."""
    folder = tmp_path_factory.mktemp("disturbed")
    paths = [write_tone(folder / "audio" / f"{i}.wav", 200 + i, seconds=0.06) for i in range(7)]
    copy, broken = (folder / "audio" / name for name in ("copy.wav", "broken.wav"))
    copy.write_bytes(paths[0].read_bytes())
    broken.write_bytes(b"no audio")
    list_table(folder, [(path, "x") for path in (*paths[:3], copy, broken)]).rename(folder / "manifest")
    list_table(folder, [(path, "x") for path in (*paths[2:], copy)]).rename(folder / "overlapping")
    arguments = [sys.executable, Path(disturbed_fills.__file__), folder]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout)


def test_a_fill_that_is_killed_anywhere_and_run_again_leaves_what_an_undisturbed_one_leaves(disturbed):
    folder, kills = disturbed
    whole = tree(folder / "whole")
    assert len([name for name in whole if "/shards/" in name]) == 2
    for number in range(len(kills)):
        assert tree(folder / str(number)) == whole, f"killed at touch {number}, with {kills[number]}"


def test_the_kills_were_at_every_stage(disturbed):
    _, kills = disturbed
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
            {"files/000000"} == {n for n in there if n[:6] in ("files/", "shards")} - {"shards/000000"}
        ),
        "in the last shard": lambda there: {"shards/part", "files/000000"} <= set(there),
    }
    for stage, is_there in stages.items():
        assert any(map(is_there, kills)), stage


def test_runs_on_the_same_files_at_the_same_time_leave_all_that_one_leaves(disturbed):
    """A run that plans while another is between two shards may store some clips once more, under another plan."""
    folder, _ = disturbed
    whole, same = tree(folder / "whole"), tree(folder / "same")
    assert {path: same.get(path) for path in whole} == whole
    plans = [plan_store(folder / "manifest", AudioParams(), folder / name) for name in ("whole", "same")]
    assert [plan.shards for plan in plans] == [(), ()]
    kept = ["path", "content_sha256", "audio_hash", "num_samples", "reason"]
    one, several = (look_up(plan)[kept].sort_values("path", ignore_index=True) for plan in plans)
    pd.testing.assert_frame_equal(one, several)


def test_runs_on_some_of_the_same_files_at_the_same_time_lose_nothing_and_corrupt_nothing(disturbed):
    folder, _ = disturbed
    looked_up = []
    for manifest in ("manifest", "overlapping"):
        plan = plan_store(folder / manifest, AudioParams(), folder / "both")
        assert plan.shards == ()
        looked_up.append(look_up(plan))
    found = pd.concat(looked_up).drop_duplicates("path", ignore_index=True)
    assert len(found) == 9
    assert found.loc[found["reason"].notna(), "detail"].tolist() == ["Format not recognised."]
    good = found[found["reason"].isna()].reset_index(drop=True)
    mapped = MappedWaveforms(good, plan.store)
    for index, path in enumerate(good["path"]):
        expected = decode(Path(path).read_bytes(), AudioParams())
        assert (mapped.read(index) * 32_768 == expected.samples).all()
    assert not list(folder.glob("both/**/.*.part"))
