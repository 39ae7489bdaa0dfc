from __future__ import annotations

import os
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import cloudpickle
import pytest
import yaml
from prefect import flow, task
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.task_runners import ThreadPoolTaskRunner

from audiocls.params.data import FolderData
from audiocls.params.run import AudioParams, RunnerParams
from audiocls.sources.manifest import list_clips
from audiocls.waveforms import shards, store as waveforms
from flows.balance import balance_flow
from flows.ingest import ingest_flow
from flows.train import train_flow
from tasks import runners
from tasks.runners import run_shards

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture(scope="module")
def stored_alone(tones, tmp_path_factory):
    """The tables of a store that was filled without Prefect, in three shards."""
    workspace = tmp_path_factory.mktemp("alone")
    manifest = list_clips(FolderData(source="folder", path=tones, group_by="file"), workspace)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(waveforms, "SHARD_CLIPS", 20)
        plan = waveforms.plan_store(manifest, AudioParams(), workspace)
    assert len(plan.shards) == 3
    for shard in plan.shards:
        shards.write_shard(shard, AudioParams())
    return tree(plan.store.parent)


def tree(store: Path) -> dict[str, bytes]:
    files = [path for folder in ("shards", "files", "plans") for path in store.glob(f"*/{folder}/*")]
    return {str(path.relative_to(store)): path.read_bytes() for path in files}


def shards_of_one(count: int) -> list[shards.ShardPlan]:
    return [shards.ShardPlan(Path("store"), Path("plan"), i, i + 1) for i in range(count)]


@pytest.mark.parametrize("kind", ["thread", "process", "dask", "ray"])
def test_the_store_is_the_same_byte_for_byte_whatever_runs_the_shards(kind, tones, stored_alone, tmp_path, monkeypatch):
    # `make test-clusters` skips nothing.
    if kind in ("dask", "ray") and find_spec(f"prefect_{kind}") is None and "TEST_CLUSTERS" not in os.environ:
        pytest.skip(f"NOT TESTED: runner.kind={kind} needs pip install 'audiocls[{kind}]', as make test-clusters does")
    monkeypatch.setattr(waveforms, "SHARD_CLIPS", 20)
    data = {"source": "folder", "path": str(tones), "group_by": "file"}
    params = {"workspace": str(tmp_path), "data": data, "runner": {"kind": kind, "workers": 1}}
    (tmp_path / "tones.yaml").write_text(yaml.safe_dump(params))
    # The whole flow, as Prefect sends to a process or a cluster the flow itself with all that it names.
    assert ingest_flow(params_file=str(tmp_path / "tones.yaml")).clips == 48
    assert tree(tmp_path / "waveforms") == stored_alone


@pytest.mark.parametrize("sent", [train_flow, ingest_flow, balance_flow], ids=lambda sent: sent.name)
def test_every_flow_can_be_sent_to_another_process(sent):
    assert cloudpickle.loads(cloudpickle.dumps(sent)).name == sent.name


@pytest.mark.parametrize("kind", ["process", "dask", "ray"])
def test_workers_of_this_machine_are_told_the_temporary_server_of_the_flow(kind, monkeypatch):
    server, told = PREFECT_API_URL.value(), []
    # A thread takes over the settings as a process does, and starts in no time.
    monkeypatch.setattr(runners, "make_runner", lambda _: ThreadPoolTaskRunner(max_workers=1))

    @task
    def write(shard: shards.ShardPlan, params: AudioParams) -> int:
        told.append(PREFECT_API_URL.value())
        return 1

    @flow
    def write_all() -> None:
        run_shards(write, shards_of_one(1), AudioParams(), RunnerParams(kind=kind), "writing")

    with temporary_settings({PREFECT_API_URL: None}):
        write_all()
        assert PREFECT_API_URL.value() is None
    assert told == [server]


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
        run_shards(write, shards_of_one(8), AudioParams(), RunnerParams(workers=2), "writing")

    write_all()
    assert len(seen) == 8
    assert max(seen) == 2
