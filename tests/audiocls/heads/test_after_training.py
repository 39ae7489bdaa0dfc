"""Heads balanced after training, on recordings, in the saved model."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from tiny_configs import TINY_CONFIGS

from audiocls.balance.selection import balance
from audiocls.errors import LeakageError
from audiocls.evaluation.scoring import evaluate, predict
from audiocls.features.embeddings import embed_clips
from audiocls.heads.after_training import balance_head
from audiocls.heads.linear import head_of
from audiocls.models.families import build_model, load_model, save_model
from audiocls.models.inference_settings import load_settings
from audiocls.params.model import ModelParams
from audiocls.params.run import RunParams
from audiocls.sources.manifest import list_clips
from audiocls.splits.assignment import assign_splits
from audiocls.splits.prepared_data import PreparedData
from audiocls.training.run import fit
from audiocls.waveforms.corpus import collect_corpus
from audiocls.waveforms.shards import write_shard
from audiocls.waveforms.store import plan_store


@pytest.fixture(scope="module")
def prepared(tones, tmp_path_factory):
    """(split clips, waveform store, params) of the tones, in whose training split the classes differ in size."""
    workspace = tmp_path_factory.mktemp("prepared")
    params = RunParams.model_validate(
        {
            "workspace": str(workspace),
            "data": {"source": "folder", "path": str(tones), "group_by": "file"},
            "audio": {"max_seconds": 0.4},  # no clip is longer, so that each is one window
            "model": {"config": {"channels": [4, 8]}},
            "training": {"batch_size": 8, "learning_rate": 1.0e-2, "epochs": 5},
        }
    )
    manifest = list_clips(params.data, workspace)
    plan = plan_store(manifest, params.audio, workspace)
    for shard in plan.shards:
        write_shard(shard, params.audio)
    corpus = collect_corpus(manifest, plan, workspace)
    return assign_splits(corpus.clips, params.split, params.seed, workspace), corpus.store, params


@pytest.fixture(scope="module")
def trained(prepared, tmp_path_factory):
    """The folder of a model that was trained plainly."""
    folder = tmp_path_factory.mktemp("trained")
    return run(prepared, {"method": "none"}, folder)[0]


def run(prepared, section, folder: Path, plain: Path | None = None, **changed):
    """Fit, or take a model that was trained plainly, and balance its head; return (folder, HeadBalance, params)."""
    splits, store, params = prepared
    params = RunParams.model_validate(params.model_dump() | {"balance": section} | changed)
    balanced = balance(splits, params.balance, params.seed, params.workspace)
    data = PreparedData(splits, store, params)
    if plain is None:
        fit(data, balanced, folder, lambda metrics, step: None)
    else:
        shutil.copytree(plain, folder / "model")
    return folder / "model", balance_head(folder / "model", balanced, data, folder), params


def logits_of(folder, prepared, split="train"):
    splits, store, params = prepared
    model, extractor = load_model(folder)
    clips = pd.read_parquet(splits).query("split == @split")
    return predict(model, extractor, clips, PreparedData(splits, store, params))


@pytest.mark.parametrize("method", ["smote", "borderline_smote", "adasyn", "smote_tomek", "smote_enn"])
def test_synthetic_samples_train_the_head_alone_and_say_what_they_are_made_of(method, prepared, trained, tmp_path):
    model = {"pretrained": str(trained)}
    section = {"method": method, "neighbours": 3, "no_border": "smote"}
    folder, done, params = run(prepared, section, tmp_path, model=model)
    assert load_settings(folder).params["balance"]["method"] == method
    before, after = (load_file(path / "model.safetensors") for path in (trained, folder))
    assert {name for name in before if not torch.equal(before[name], after[name])} == {
        "classifier.weight",
        "classifier.bias",
    }
    table = pd.read_parquet(tmp_path / "balance" / "rows.parquet")
    training = pd.read_parquet(prepared[0]).query("split == 'train'").set_index("clip_id")
    assert set(table["clip_id"]) | set(table["other_clip_id"].dropna()) <= set(training.index)
    synthetic = table[table["kind"] == "synthetic"]
    assert (training.loc[synthetic["clip_id"], "label"].to_numpy() == synthetic["label"]).all()
    assert (training.loc[synthetic["other_clip_id"], "label"].to_numpy() == synthetic["label"]).all()
    assert done.balanced.counts_after == table["label"].value_counts().to_dict()
    assert done.balanced.rows_of_kind["synthetic"] == len(synthetic) > 0
    if method not in ("smote_tomek", "smote_enn"):
        assert set(done.balanced.counts_after.values()) == {max(done.balanced.counts_before.values())}
    assert (tmp_path / "balance" / "embeddings.png").stat().st_size > 5_000
    report = evaluate(folder, PreparedData(*prepared[:2], params), tmp_path / "evaluation")
    assert report.metrics["validation/f1_macro"] > 0.5


def test_decoupled_keeps_the_trained_encoder_and_changes_the_head(prepared, trained, tmp_path):
    folder, done, _ = run(prepared, {"method": "decoupled", "resampling": "smote", "neighbours": 3}, tmp_path)
    before, after = (load_file(path / "model.safetensors") for path in (trained, folder))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"classifier.weight", "classifier.bias"}
    assert json.loads((done.files / "head.json").read_text())["resampling"] == "smote"


@pytest.mark.parametrize(
    ("family", "section"),
    [
        ("hubert", {"method": "smote", "layer": "weighted"}),
        ("hubert", {"method": "decoupled", "layer": 1}),
        ("audio-spectrogram-transformer", {"method": "smote", "layer": 1}),
    ],
    ids=["weighted", "one layer", "one layer of AST"],
)
def test_a_head_on_another_layer_is_the_saved_models_head(family, section, prepared, tmp_path):
    splits, store, params = prepared
    config = {"family": family, "config": TINY_CONFIGS[family] | {"num_hidden_layers": 3}}
    if section["method"] == "smote":
        model = build_model(ModelParams.model_validate(config), params.audio, ["high", "low", "middle"])
        save_model(*model, tmp_path / "encoder")
        config = {"family": family, "pretrained": str(tmp_path / "encoder")}
    section |= {"neighbours": 3}
    short = {"training": {"batch_size": 8, "max_steps": 1, "device": "cpu"}, "workspace": str(tmp_path)}
    folder, done, params = run(prepared, section, tmp_path / "run", model=config, **short)
    model, extractor = load_model(folder)
    if family == "hubert":
        weights = torch.softmax(model.layer_weights, 0)
        assert (weights.max() < 1) == (section["layer"] == "weighted")
        assert weights.sum().item() == pytest.approx(1)
    else:
        assert len(model.audio_spectrogram_transformer.layers) == 1
    clips = pd.read_parquet(splits).query("split == 'train'")
    assert json.loads((done.files / "head.json").read_text())["layer"] == section["layer"]
    stores = len(list(tmp_path.glob("embeddings/*")))
    assert stores == (2 if section["layer"] == "weighted" else 1)
    embeddings = embed_clips(model, extractor, clips, PreparedData(splits, store, params))
    assert len(list(tmp_path.glob("embeddings/*"))) == stores, "those that the head was trained on are others"
    expected = head_of(model).logits(embeddings)
    np.testing.assert_allclose(logits_of(folder, prepared), expected, atol=1e-4 * np.abs(expected).max())
    assert done.balanced.rows_of_kind["synthetic" if section["method"] == "smote" else "copy"] > 0


def test_adjustment_after_training_is_a_shift_of_the_saved_models_logits(prepared, trained, tmp_path):
    folder, done, _ = run(prepared, {"method": "post_hoc_logit_adjustment"}, tmp_path, trained)
    counts = np.array([done.balanced.counts_before[name] for name in ("high", "low", "middle")])
    expected = logits_of(trained, prepared) - np.log(counts / counts.sum())
    np.testing.assert_allclose(logits_of(folder, prepared), expected, atol=1e-4)
    assert done.metrics == {"balance/tau": 1.0}


@pytest.mark.parametrize(
    ("section", "max_seconds"),
    [
        ({"method": "class_thresholds"}, 0.4),
        ({"method": "class_thresholds"}, 0.05),  # every clip is scored by windows
        ({"method": "post_hoc_logit_adjustment", "tau": None}, 0.4),
    ],
)
def test_what_validation_chooses_is_in_the_saved_model_and_no_worse_there(
    section, max_seconds, prepared, trained, tmp_path
):
    audio = {"max_seconds": max_seconds}
    folder, done, params = run(prepared, section, tmp_path, trained, audio=audio)
    plain = evaluate(trained, PreparedData(*prepared[:2], params), tmp_path / "plain").metrics
    found = evaluate(folder, PreparedData(*prepared[:2], params), tmp_path / "evaluation").metrics
    assert found["validation/f1_macro"] >= plain["validation/f1_macro"]
    shift = logits_of(folder, prepared) - logits_of(trained, prepared)
    np.testing.assert_allclose(shift, np.broadcast_to(shift[0], shift.shape), atol=1e-4)
    said = json.loads((done.files / "head.json").read_text())
    if section["method"] == "class_thresholds":
        np.testing.assert_allclose(shift[0], list(said["offsets"].values()), atol=1e-4)


def test_tau_norm_makes_the_saved_heads_weights_alike(prepared, trained, tmp_path):
    folder, _, _ = run(prepared, {"method": "tau_norm", "tau": 1.0}, tmp_path, trained)
    norms = load_file(folder / "model.safetensors")["classifier.weight"].norm(dim=1)
    np.testing.assert_allclose(norms, norms.mean().expand(3), rtol=1e-4)


@pytest.mark.parametrize("section", [{"method": "decoupled"}, {"method": "none"}])
def test_a_planted_test_clip_stops_the_run_and_is_named(section, prepared, trained, tmp_path):
    splits, store, params = prepared
    params = RunParams.model_validate(params.model_dump() | {"balance": section})
    balanced = balance(splits, params.balance, params.seed, tmp_path)
    table = pd.read_parquet(splits)
    planted = int(np.flatnonzero(table["split"] == "test")[0])
    rows = pd.read_parquet(balanced.rows)
    rows.loc[3, ["row", "clip_id"]] = planted, table["clip_id"][planted]
    rows.to_parquet(tmp_path / "leaking.parquet")
    leaking = replace(balanced, rows=tmp_path / "leaking.parquet")
    data = PreparedData(splits, store, params)
    with pytest.raises(LeakageError, match=table["clip_id"][planted]):
        fit(data, leaking, tmp_path, lambda metrics, step: None)
    if section["method"] == "decoupled":
        with pytest.raises(LeakageError, match=table["clip_id"][planted]):
            balance_head(trained, leaking, data, tmp_path)


# The embedding store


def test_embeddings_are_computed_once_for_each_set_of_weights_and_clip(prepared, trained, tmp_path):
    splits, store, params = prepared
    data = PreparedData(splits, store, params.model_copy(update={"workspace": tmp_path}))
    clips = pd.read_parquet(splits)
    model, extractor = load_model(trained)
    asked = []
    model.register_forward_hook(lambda module, inputs, output: asked.append(len(output.logits)))
    first = embed_clips(model, extractor, clips[:20], data)
    again = embed_clips(model, extractor, clips.iloc[::-1], data)
    assert sum(asked) == len(clips)
    np.testing.assert_array_equal(again[::-1][:20], first)
    with torch.no_grad():
        model.classifier.weight.mul_(2)  # the head is not before the embeddings
        embed_clips(model, extractor, clips, data)
        assert sum(asked) == len(clips)
        next(model.encoder.parameters()).mul_(2)
        changed = embed_clips(model, extractor, clips[:20], data)
    assert sum(asked) == len(clips) + 20
    assert not np.allclose(changed, first)
    assert len(list(tmp_path.glob("embeddings/*/settings.json"))) == 2
