from __future__ import annotations

import logging
import sys
import uuid
from pathlib import Path

import fsspec
import numpy as np
import pandas as pd
import pytest
from fsspec.registry import _registry

from audiocls.decoding.recording import FULL_SCALE, decode
from audiocls.errors import MissingExtraError, StoreError, UserMistake
from audiocls.files.places import is_uri
from audiocls.files.storage import local_path, open_place
from audiocls.params.data import FolderData
from audiocls.params.run import AudioParams
from audiocls.sources.manifest import list_clips
from audiocls.waveforms.corpus import collect_corpus
from audiocls.waveforms.mapped import MappedWaveforms
from audiocls.waveforms.shards import write_shard
from audiocls.waveforms.store import look_up, plan_store


@pytest.fixture(scope="module")
def s3():
    """A bucket on an S3 server of this test's own."""
    pytest.importorskip("s3fs", reason="NOT TESTED: s3:// needs pip install 'audiocls[s3]'")
    server_module = pytest.importorskip("moto.server", reason="NOT TESTED: s3:// needs pip install 'moto[s3]'")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
            patch.setenv(f"AWS_{name}", "test")
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        fsspec.filesystem("s3").mkdir("bucket")
        yield "s3://bucket"
        fsspec.get_filesystem_class("s3").clear_instance_cache()
    server.stop()


@pytest.fixture(params=["memory", "s3"])
def elsewhere(request):
    """The URI of an empty place that is no folder of this machine."""
    root = request.getfixturevalue("s3") if request.param == "s3" else "memory:/"
    return f"{root}/{uuid.uuid4().hex}"


@pytest.fixture
def in_memory():
    return f"memory://{uuid.uuid4().hex}"


@pytest.fixture
def files(tmp_path, write_tone):
    return [write_tone(tmp_path / "audio" / f"{hz}.wav", hz) for hz in (200, 300, 400)]


def assert_reads(store, clips):
    mapped = MappedWaveforms(clips.reset_index(drop=True), store)
    assert len(mapped) > 0
    for index, path in enumerate(clips["path"]):
        with fsspec.open(path) as file:
            expected = decode(file.read(), AudioParams()).samples / np.float32(FULL_SCALE)
        np.testing.assert_array_equal(mapped.read(index), expected)


def remote_tree(uri: str) -> dict[str, bytes]:
    files, root = fsspec.url_to_fs(uri)
    return {name.removeprefix(f"{root}/"): files.cat_file(name) for name in files.find(root)}


# A store


def test_a_store_elsewhere_is_byte_for_byte_the_store_of_this_machine(
    elsewhere, files, list_table, fill_store, tmp_path
):
    manifest = list_table(tmp_path, [(path, "x") for path in files])
    here = fill_store(manifest, tmp_path).store.parent
    fill_store(manifest, tmp_path, AudioParams(store=elsewhere))
    assert remote_tree(elsewhere) == {
        path.relative_to(here).as_posix(): path.read_bytes() for path in here.glob("*/**/*") if path.is_file()
        and not (path.parent / "store.txt").exists()
    }  # fmt: skip


def test_samples_of_a_store_elsewhere_are_mapped_from_the_workspace(elsewhere, files, list_table, fill_store, tmp_path):
    manifest = list_table(tmp_path, [(path, "x") for path in files])
    params = AudioParams(store=elsewhere)
    plan = fill_store(manifest, tmp_path / "one", params)
    # Another machine: it reads what the first one wrote, and writes nothing.
    before = remote_tree(elsewhere)
    plan = plan_store(manifest, params, tmp_path / "other")
    assert plan.shards == ()
    assert remote_tree(elsewhere) == before
    corpus = collect_corpus(manifest, plan, tmp_path / "other")
    assert_reads(corpus.store, pd.read_parquet(corpus.clips))
    (unpacked,) = (corpus.store / "unpacked").iterdir()
    assert unpacked.is_relative_to(tmp_path / "other")
    assert unpacked.stat().st_size == 2 * 3 * 1_600


def test_a_folder_made_by_hand_is_no_clip_and_a_name_with_two_colons_is_told(s3, files, fill_store, tmp_path):
    there = fsspec.filesystem("s3")
    root = f"{s3.removeprefix('s3://')}/{uuid.uuid4().hex}"
    for marker in ("", "yes/", "empty/"):
        there.call_s3("put_object", Bucket="bucket", Key=f"{root.removeprefix('bucket/')}/{marker}", Body=b"")
    for name in ("a.wav", "b#1 c.wav", "d::e.wav"):
        there.pipe_file(f"{root}/yes/{name}", files[0].read_bytes())
    manifest = list_clips(FolderData(source="folder", path=f"s3://{root}"), tmp_path)
    corpus = collect_corpus(manifest, fill_store(manifest, tmp_path), tmp_path)
    assert pd.read_parquet(corpus.clips)["clip_id"].tolist() == ["yes/a.wav", "yes/b#1 c.wav"]
    (refused,) = pd.read_parquet(corpus.quarantine).itertuples()
    assert (refused.clip_id, refused.reason) == ("yes/d::e.wav", "unreadable")
    assert "rename the file" in refused.detail


def test_an_unfinished_fill_of_a_store_elsewhere_is_finished(in_memory, files, list_table, fill_store, tmp_path):
    manifest = list_table(tmp_path, [(path, "x") for path in files])
    params = AudioParams(store=in_memory)
    plan = plan_store(manifest, params, tmp_path)
    write_shard(plan.shards[0], params)
    whole = remote_tree(in_memory)
    (table,) = [name for name in whole if "/files/" in name]
    fsspec.url_to_fs(in_memory)[0].rm_file(f"{fsspec.url_to_fs(in_memory)[1]}/{table}")
    assert fill_store(manifest, tmp_path, params).plan == plan.plan
    assert remote_tree(in_memory) == whole


def test_a_damaged_shard_elsewhere_is_named(in_memory, files, list_table, fill_store, tmp_path):
    manifest = list_table(tmp_path, [(path, "x") for path in files])
    params = AudioParams(store=in_memory)
    store = fill_store(manifest, tmp_path, params).store
    (shard,) = [name for name in remote_tree(in_memory) if "/shards/" in name]
    fs, root = fsspec.url_to_fs(in_memory)
    fs.pipe_file(f"{root}/{shard}", b"PAR1")
    with pytest.raises(StoreError, match=f"{store}/shards/.*: cannot be read .*Delete it"):
        plan_store(manifest, params, tmp_path)


def test_a_store_in_another_folder_is_opened_by_its_path_and_by_its_uri(files, list_table, fill_store, tmp_path):
    manifest = list_table(tmp_path, [(path, "x") for path in files])
    plan = fill_store(manifest, tmp_path, AudioParams(store=str(tmp_path / "stores")))
    assert plan.store.parent == tmp_path / "stores"
    again = plan_store(manifest, AudioParams(store=f"file://{tmp_path}/stores"), tmp_path)
    assert (again.store, again.shards, again.local) == (plan.store, (), plan.store)


# Clips


def test_clips_elsewhere_are_read_once_and_again_when_they_change(elsewhere, files, list_table, fill_store, tmp_path):
    files_there, root = fsspec.url_to_fs(elsewhere)
    uris = [f"{elsewhere}/{path.name}" for path in files]
    for path in files:
        files_there.pipe_file(f"{root}/{path.name}", path.read_bytes())
    manifest = list_table(tmp_path, [(uri, "x") for uri in [*uris, f"{elsewhere}/gone.wav"]])
    plan = fill_store(manifest, tmp_path)
    found = look_up(plan).set_index("path")
    assert found.loc[f"{elsewhere}/gone.wav", ["reason", "detail"]].tolist() == ["missing", "no such object"]
    assert_reads(plan.local, found.loc[uris].reset_index())
    assert plan_store(manifest, AudioParams(), tmp_path).shards == ()
    # As many bytes as before.
    files_there.pipe_file(f"{root}/200.wav", files[1].read_bytes())
    changed = fill_store(manifest, tmp_path)
    assert [shard.stop - shard.start for shard in changed.shards] == [1]
    found = look_up(changed).set_index("path")
    assert found.loc[uris[0], "content_sha256"] == found.loc[uris[1], "content_sha256"]


def test_a_clip_elsewhere_that_changes_between_the_look_and_the_reading_is_not_taken(
    in_memory, files, list_table, tmp_path
):
    files_there, root = fsspec.url_to_fs(in_memory)
    files_there.pipe_file(f"{root}/a.wav", files[0].read_bytes())
    plan = plan_store(list_table(tmp_path, [(f"{in_memory}/a.wav", "x")]), AudioParams(), tmp_path)
    files_there.pipe_file(f"{root}/a.wav", files[1].read_bytes())
    write_shard(plan.shards[0], AudioParams())
    assert look_up(plan)["detail"].tolist() == ["the file changed while the store was filled; the next run reads it"]


def test_clips_at_file_uris_are_those_at_their_paths(files, list_table, fill_store, tmp_path):
    paths = [files[0], f"file://{files[1]}", f"file://{tmp_path}/gone.wav"]
    found = look_up(fill_store(list_table(tmp_path, [(path, "x") for path in paths]), tmp_path)).set_index("path")
    assert found.loc[f"file://{files[1]}", "num_samples"] == 1_600
    assert found.loc[f"file://{tmp_path}/gone.wav", "reason"] == "missing"


# Names and drivers


def test_paths_are_told_from_uris():
    assert [is_uri(text) for text in ("s3://b/k", "a/b.wav", "C:/a.wav", "/a://b", "file:///a")] == [
        True, False, False, False, True,
    ]  # fmt: skip
    assert local_path("file:///a/b.wav") == Path("/a/b.wav")
    assert local_path("s3://b/k") is None


def test_a_missing_driver_is_said_with_the_extra_that_brings_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(_registry, "s3", raising=False)
    with pytest.raises(MissingExtraError, match=r"s3://bucket/x: .* pip install 'audiocls\[s3\]'"):
        open_place("s3://bucket/x")


def test_a_clip_whose_driver_is_missing_stops_the_run(monkeypatch, list_table, tmp_path):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(_registry, "s3", raising=False)
    with pytest.raises(MissingExtraError, match="needs a driver"):
        plan_store(list_table(tmp_path, [("s3://bucket/a.wav", "x")]), AudioParams(), tmp_path)


def test_a_protocol_that_nobody_knows_is_a_mistake():
    with pytest.raises(UserMistake, match="nowhere:// is not a protocol that fsspec supports"):
        open_place("nowhere://bucket/x")
