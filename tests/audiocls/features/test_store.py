from __future__ import annotations

import json
import multiprocessing
import os
import signal

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from disturbed_fills import kill_at_touch
from tiny_configs import TINY_CONFIGS
from transformers import AutoFeatureExtractor

from audiocls.balance.selection import balance
from audiocls.batches.dataset import ClipDataset, Collator
from audiocls.batches.normalisation import normalise_by_training
from audiocls.batches.window_table import count_windows, cut_into_windows
from audiocls.errors import FullDiskError, StoreError
from audiocls.evaluation.scoring import evaluate
from audiocls.features.store import map_features, plan_features, write_features
from audiocls.models.families import build_extractor, load_model
from audiocls.params.model import FAMILIES, RAW_WAVEFORM_FAMILIES
from audiocls.params.run import RunParams
from audiocls.sources.manifest import list_clips
from audiocls.splits.assignment import assign_splits
from audiocls.splits.prepared_data import PreparedData
from audiocls.training.run import fit
from audiocls.waveforms.corpus import collect_corpus
from audiocls.waveforms.mapped import MappedWaveforms
from audiocls.waveforms.shards import write_shard
from audiocls.waveforms.store import plan_store

SLOW_FAMILIES = [name for name in FAMILIES if name not in (*RAW_WAVEFORM_FAMILIES, "logmel-resnet")]
# The tones are 0.30 to 0.36 s long: most clips are longer than this, and some are not.
SECONDS = 0.325


def run_params(workspace, family="audio-spectrogram-transformer", **audio):
    return RunParams.model_validate(
        {
            "workspace": str(workspace),
            "data": {"source": "sample"},
            "audio": {"max_seconds": SECONDS, "truncate": "center", "cache_features": "always", **audio},
            "model": {"family": family, "config": TINY_CONFIGS[family]},
            "evaluation": {"robustness_clips": 0},
            "training": {"batch_size": 8, "max_steps": 3, "learning_rate": 5.0e-3},
        }
    )


@pytest.fixture(scope="module")
def prepared(tones, tmp_path_factory):
    """(split clips, balanced, waveform store) of the tones."""
    workspace = tmp_path_factory.mktemp("prepared")
    data = {"source": "folder", "path": str(tones), "group_by": "file"}
    params = run_params(workspace).model_copy(update={"data": RunParams.model_validate({"data": data}).data})
    manifest = list_clips(params.data, workspace)
    plan = plan_store(manifest, params.audio, workspace)
    for shard in plan.shards:
        write_shard(shard, params.audio)
    corpus = collect_corpus(manifest, plan, workspace)
    splits = assign_splits(corpus.clips, params.split, params.seed, workspace)
    return splits, balance(splits, params.balance, params.seed, workspace), corpus.store


@pytest.fixture
def fill(prepared, monkeypatch):
    """A function that fills the feature store in shards of ten clips, and returns the plan."""
    monkeypatch.setattr("audiocls.features.store.SHARD_CLIPS", 10)
    splits, _, waveforms = prepared

    def filled(params, only=slice(None), clips=splits):
        plan = plan_features(PreparedData(clips, waveforms, params))
        for shard in plan.shards[only]:
            write_features(shard, params.audio)
        return plan

    return filled


def extractor_of(params, prepared):
    """The extractor that training saves with the model."""
    extractor = build_extractor(params.model, params.audio)
    normalise_by_training(extractor, pd.read_parquet(prepared[0]), prepared[2], params)
    return extractor


def batches(prepared, params, store, *, training, clips=slice(None)):
    """All clips in batches of seven, in one order, with kept features where there is a store."""
    splits, _, waveforms = prepared
    table = pd.read_parquet(splits)
    held_out = table["split"] != "train"
    table = table[~held_out] if training else cut_into_windows(table[held_out], params.audio)
    table = table[clips]
    extractor = extractor_of(params, prepared)
    features = map_features(store, table, extractor, params.audio) if store else None
    dataset = ClipDataset(
        table, MappedWaveforms(table, waveforms), ["high", "low", "middle"], params.audio,
        training=training, features=features,
    )  # fmt: skip
    torch.manual_seed(1)
    collate = Collator(extractor, params.audio)
    return [collate([dataset[i] for i in range(j, min(j + 7, len(table)))]) for j in range(0, len(table), 7)]


def count_kept(clips, params) -> int:
    """How many clips, and windows of those held out, the store keeps."""
    held_out = clips["split"] != "train"
    cut_at_random = (clips["num_samples"] > round(SECONDS * 16_000)) & (params.audio.truncate == "random") & ~held_out
    return (~held_out & ~cut_at_random).sum() + count_windows(clips[held_out], params.audio).sum()


def assert_same_batches(one, other):
    assert len(one) == len(other) > 2
    for ours, theirs in zip(one, other, strict=True):
        assert ours.keys() == theirs.keys()
        for name in ours:
            assert ours[name].dtype == theirs[name].dtype
            assert torch.equal(ours[name], theirs[name])


def contents(store):
    return {p.name: p.read_bytes() for p in (store / "shards").iterdir()}


@pytest.mark.parametrize("pad", ["zero", "repeat"])
@pytest.mark.parametrize("truncate", ["center", "head", "random"])
def test_batches_are_the_same_bit_for_bit(truncate, pad, prepared, fill, tmp_path):
    params = run_params(tmp_path, truncate=truncate, pad=pad)
    store = fill(params).store
    for training in (True, False):
        without = batches(prepared, params, None, training=training)
        assert_same_batches(batches(prepared, params, store, training=training), without)


def test_clips_that_training_cuts_at_random_are_computed_and_the_others_read(prepared, fill, tmp_path, caplog):
    params = run_params(tmp_path, truncate="random")
    caplog.set_level("INFO", logger="audiocls.features.store")
    plan = fill(params)
    splits, _, waveforms = prepared
    table = pd.read_parquet(splits)
    longer = (table["num_samples"] > round(SECONDS * 16_000)) & (table["split"] == "train")
    assert 0 < longer.sum() < (table["split"] == "train").sum()
    assert sum(shard.stop - shard.start for shard in plan.shards) == count_kept(table, params)
    assert f"Features of {longer.sum()} training clips are computed in every epoch" in caplog.text
    table, longer = table[table["split"] == "train"], longer[table["split"] == "train"]
    dataset = ClipDataset(
        table, MappedWaveforms(table, waveforms), ["high", "low", "middle"], params.audio, training=True,
        features=map_features(plan.store, table, extractor_of(params, prepared), params.audio),
    )  # fmt: skip
    assert [isinstance(dataset[i][0], np.ndarray) for i in range(len(table))] == longer.tolist()


def test_a_store_of_more_shards_than_files_may_be_open_is_read(prepared, fill, tmp_path, few_open_files, monkeypatch):
    params = run_params(tmp_path)
    monkeypatch.setattr("audiocls.features.store.SHARD_CLIPS", 1)
    store = fill(params).store
    assert len(contents(store)) > 20
    with few_open_files(10):
        kept = batches(prepared, params, store, training=False)
    assert_same_batches(kept, batches(prepared, params, None, training=False))


@pytest.mark.parametrize("family", SLOW_FAMILIES)
def test_every_slow_extractor_reads_back_what_it_wrote_saved_and_loaded_too(family, prepared, fill, tmp_path):
    params = run_params(tmp_path, family)
    store = fill(params).store
    without = batches(prepared, params, None, training=False)
    assert_same_batches(batches(prepared, params, store, training=False), without)
    extractor_of(params, prepared).save_pretrained(tmp_path / "saved")
    table = pd.read_parquet(prepared[0]).query("split == 'train'")
    map_features(store, table, AutoFeatureExtractor.from_pretrained(tmp_path / "saved"), params.audio)


@pytest.mark.parametrize("cut", [{"truncate": "random"}, {"chunk": {"seconds": SECONDS, "hop": SECONDS / 4}}])
def test_training_and_scores_are_the_same_and_the_saved_extractor_opens_the_store(cut, prepared, fill, tmp_path):
    params = run_params(tmp_path, **cut)
    splits, balanced, waveforms = prepared
    results = []
    for name, features in (("with", fill(params).store), ("without", None)):
        log, data = [], PreparedData(splits, waveforms, params, features)
        model = fit(data, balanced, tmp_path / name, lambda *m, log=log: log.append(m))
        evaluation = evaluate(model.folder, data, tmp_path / name / "evaluation")
        network, _ = load_model(model.folder)
        results.append((evaluation.metrics, network.state_dict(), log))
    (metrics, weights, log), (plain_metrics, plain_weights, plain_log) = results
    assert metrics == plain_metrics
    assert log == plain_log
    assert all(torch.equal(weights[name], plain_weights[name]) for name in plain_weights)


@pytest.mark.parametrize("family", [name for name in FAMILIES if name not in SLOW_FAMILIES])
def test_quick_extractors_have_no_store(family, prepared, tmp_path):
    assert plan_features(PreparedData(prepared[0], prepared[2], run_params(tmp_path, family))) is None
    assert not (tmp_path / "features").exists()


def test_never_is_never(prepared, tmp_path):
    params = run_params(tmp_path, cache_features="never")
    assert plan_features(PreparedData(prepared[0], prepared[2], params)) is None


def test_a_second_run_computes_nothing_and_new_clips_cost_what_is_new(prepared, fill, tmp_path):
    params = run_params(tmp_path, "whisper")  # whose extractor does not depend on the training clips
    table = pd.read_parquet(prepared[0])
    table[:30].to_parquet(tmp_path / "some.parquet")
    first = fill(params, clips=tmp_path / "some.parquet")
    assert sum(shard.stop - shard.start for shard in first.shards) == count_kept(table[:30], params)
    before = contents(first.store)
    second = fill(params)
    assert sum(shard.stop - shard.start for shard in second.shards) == count_kept(table[30:], params)
    assert before.items() <= contents(second.store).items()
    assert fill(params).shards == ()


def test_a_store_that_has_all_is_used_by_a_run_all_the_same(fill, tmp_path):
    settings = fill(run_params(tmp_path)).store / "settings.json"
    os.utime(settings, (0, 0))
    assert fill(run_params(tmp_path)).shards == ()
    assert settings.stat().st_mtime > 0


def test_copies_of_a_recording_are_computed_once_and_by_their_scale(prepared, fill, tmp_path):
    table = pd.read_parquet(prepared[0]).query("split == 'train'")[:5]
    louder = table.assign(scale=2.0)
    pd.concat([table, table, louder]).to_parquet(tmp_path / "copies.parquet")
    plan = fill(run_params(tmp_path), clips=tmp_path / "copies.parquet")
    assert sum(shard.stop - shard.start for shard in plan.shards) == 10


@pytest.fixture
def few(prepared, tmp_path):
    """The tables of 24 clips: three shards of features."""
    splits = pd.read_parquet(prepared[0])
    splits[splits["split"] == "train"][:24].to_parquet(tmp_path / "few.parquet")
    return tmp_path / "few.parquet"


@pytest.fixture
def begin(fill, few):
    """A function that fills a workspace in a child process, which may be killed at a touch of a file of ours."""

    def filled_by_child(workspace, kill_at=None):
        def run():
            if kill_at is not None:
                kill_at_touch(kill_at, workspace)
            fill(run_params(workspace), clips=few)

        child = multiprocessing.get_context("fork").Process(target=run)
        child.start()
        return child

    return filled_by_child


def test_a_fill_that_is_killed_and_run_again_leaves_the_same_shards_and_nothing_else(fill, few, begin, tmp_path):
    whole = contents(fill(run_params(tmp_path / "whole"), clips=few).store)
    assert len(whole) == 3
    # Settings, plan and three shards are each made under another name, at the even touches, and renamed.
    stages = {1: "*/.settings.json*", 3: "*/plans/.*", 4: "*/plans/[!.]*", 7: "*/shards/.*", 9: "*/shards/.*"}
    for touch, left in stages.items():
        workspace = tmp_path / str(touch)
        child = begin(workspace, kill_at=touch)
        child.join()
        assert child.exitcode == -signal.SIGKILL
        assert len(list((workspace / "features").glob(left))) == 1
        store = fill(run_params(workspace), clips=few).store
        assert contents(store) == whole
        assert not list(workspace.rglob(".*.part"))


def test_two_runs_at_the_same_time_leave_what_one_leaves(fill, few, begin, tmp_path):
    whole = contents(fill(run_params(tmp_path / "whole"), clips=few).store)
    children = [begin(tmp_path / "both") for _ in range(2)]
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0, 0]
    again = fill(run_params(tmp_path / "both"), clips=few)
    assert again.shards == ()
    assert contents(again.store) == whole
    assert not list((tmp_path / "both").rglob(".*.part"))


def test_a_full_disk_is_said_and_the_next_run_goes_on(fill, few, full_disk, tmp_path):
    whole = contents(fill(run_params(tmp_path / "whole"), clips=few).store)
    with full_disk(min(map(len, whole.values())) - 1), pytest.raises(FullDiskError, match="Make room"):
        fill(run_params(tmp_path / "full"), clips=few)
    assert not list((tmp_path / "full").rglob(".*.part"))
    assert contents(fill(run_params(tmp_path / "full"), clips=few).store) == whole


@pytest.mark.parametrize(
    "change",
    [
        {"audio": {"max_seconds": 0.2}},
        {"audio": {"pad": "repeat"}},
        {"audio": {"truncate": "head"}},
        {"model": {"config": TINY_CONFIGS["audio-spectrogram-transformer"] | {"num_mel_bins": 24}}},
    ],
)
def test_what_changes_the_features_changes_the_store(change, prepared, fill, tmp_path):
    params = run_params(tmp_path)
    store = fill(params).store
    changed = {name: params.model_dump()[name] | change.get(name, {}) for name in ("audio", "model")}
    other = RunParams.model_validate(params.model_dump() | changed)
    assert plan_features(PreparedData(prepared[0], prepared[2], other)).store != store
    with pytest.raises(StoreError, match=f"{store}: holds features of another extractor"):
        batches(prepared, other, store, training=False)


def test_random_and_center_share_a_store(prepared, fill, tmp_path):
    store = fill(run_params(tmp_path)).store
    assert fill(run_params(tmp_path, truncate="random")).store == store


def test_the_settings_say_what_the_store_is_of(fill, tmp_path):
    settings = json.loads((fill(run_params(tmp_path)).store / "settings.json").read_text())
    assert settings["extractor"]["class"] == "ASTFeatureExtractor"
    assert settings["extractor"]["num_mel_bins"] == 32
    assert settings["input_samples"] == round(SECONDS * 16_000)


def test_a_shard_is_parquet_that_says_how_to_read_it(prepared, fill, tmp_path):
    store = fill(run_params(tmp_path)).store
    shard = sorted((store / "shards").iterdir())[0]
    field = pq.read_schema(shard).field("input_values")
    shape = json.loads(field.metadata[b"shape"])
    row = pd.read_parquet(shard).iloc[0]
    features = np.frombuffer(row["input_values"], field.metadata[b"dtype"].decode()).reshape(shape)
    assert features.shape[1] == 32
    assert np.isfinite(features).all()
    assert row["audio_hash"].partition(":")[0] in set(pd.read_parquet(prepared[0])["audio_hash"])


def test_clips_that_the_store_lacks_are_counted_and_nothing_is_computed_in_silence(prepared, fill, tmp_path):
    params = run_params(tmp_path)
    plan = fill(params)
    sorted((plan.store / "shards").iterdir())[0].unlink()
    with pytest.raises(StoreError, match=r"lacks the features of \d+ of \d+ clips: .*Run again"):
        batches(prepared, params, plan.store, training=False)


def test_a_damaged_shard_is_named(prepared, fill, tmp_path):
    params = run_params(tmp_path)
    shard = sorted((fill(params).store / "shards").iterdir())[0]
    shard.write_bytes(shard.read_bytes()[:-20])
    with pytest.raises(StoreError, match=f"{shard}: cannot be read"):
        batches(prepared, params, shard.parent.parent, training=False)
