from __future__ import annotations

import threading
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from prefect import flow, task

from audiocls import shards, waveforms
from audiocls.data_params import FolderData
from audiocls.manifest import list_clips
from audiocls.params import AudioParams, RunnerParams
from tasks.runners import run_shards
from tasks.waveforms import cache_waveforms

pytestmark = pytest.mark.usefixtures("prefect_server")


@flow
def fill_flow(manifest: Path, workspace: Path, kind: str) -> waveforms.StorePlan:
    """What ingest-flow and train-flow do with the runner, and nothing else."""
    return cache_waveforms(manifest, AudioParams(), workspace, RunnerParams(kind=kind, workers=1))


@pytest.fixture(scope="module")
def manifest(tones, tmp_path_factory):
    data = FolderData(source="folder", path=tones, group_by="file")
    return list_clips(data, tmp_path_factory.mktemp("listed"))


def tree(store: Path) -> dict[str, bytes]:
    return {str(path.relative_to(store)): path.read_bytes() for path in store.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", ["thread", "process", "dask", "ray"])
def test_the_store_is_the_same_byte_for_byte_whatever_runs_the_shards(kind, manifest, tmp_path, monkeypatch):
    if kind in ("dask", "ray") and find_spec(f"prefect_{kind}") is None:
        pytest.skip(f"NOT TESTED: runner.kind={kind} needs pip install 'audiocls[{kind}]'")
    monkeypatch.setattr(waveforms, "SHARD_CLIPS", 20)
    undisturbed = waveforms.plan_store(manifest, AudioParams(), tmp_path / "alone")
    for shard in undisturbed.shards:
        shards.write_shard(shard, AudioParams())
    plan = fill_flow(manifest, tmp_path / kind, kind)
    assert len(plan.shards) == 3
    assert tree(plan.store) == tree(undisturbed.store)


def test_no_more_shards_are_held_in_memory_than_there_are_workers():
    lock, running, seen = threading.Lock(), [], []

    @task
    def write(shard: shards.ShardPlan, params: AudioParams) -> int:
        with lock:
            running.append(shard.start)
            seen.append(len(running))
        time.sleep(0.05)
        with lock:
            running.remove(shard.start)
        return shard.stop - shard.start

    @flow
    def write_all() -> None:
        cut = [shards.ShardPlan(Path("store"), Path("plan"), i, i + 1) for i in range(8)]
        run_shards(write, cut, AudioParams(), RunnerParams(workers=2), "writing")

    write_all()
    assert len(seen) == 8
    assert max(seen) == 2
