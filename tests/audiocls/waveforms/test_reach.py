from __future__ import annotations

import pytest

from audiocls.files.storage import open_place
from audiocls.waveforms.reach import doubtful_reach

CLUSTER = "tcp://me:hush@scheduler:8786"


@pytest.fixture
def manifest_of(list_table, tmp_path):
    """A function that lists the recordings of one folder, in a workspace."""
    return lambda folder: list_table(tmp_path / "workspace", [(f"{folder}/a.wav", "x")])


def test_a_store_of_this_machine_may_be_out_of_reach_of_a_cluster(manifest_of, tmp_path):
    workspace = tmp_path / "workspace"
    manifest = manifest_of("/shared/clips")
    told = doubtful_reach(CLUSTER, manifest, workspace / "waveforms" / "key", workspace)
    assert told.startswith("runner.address = tcp://me:***@scheduler:8786: its workers need ")
    assert f"{workspace / 'waveforms' / 'key'} (unless audio.store is set to another place), at the same path" in told
    assert doubtful_reach(None, manifest, workspace / "waveforms" / "key", workspace) is None
    assert doubtful_reach(CLUSTER, manifest, open_place("memory://stores/key"), workspace) is None


def test_recordings_that_a_source_wrote_may_be_out_of_reach_of_a_cluster(manifest_of, tmp_path):
    workspace = tmp_path / "workspace"
    store = open_place("memory://stores/key")
    told = doubtful_reach(CLUSTER, manifest_of(workspace / "hub" / "files"), store, workspace)
    assert f"its workers need {workspace} with the recordings in it, at the same path" in told
    assert doubtful_reach(CLUSTER, manifest_of(f"{workspace}-2"), store, workspace) is None
