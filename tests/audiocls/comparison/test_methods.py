"""A comparison on recordings, whose heads are those that a run by each method trains."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from audiocls.balance.selection import balance
from audiocls.balance.synthetic import SyntheticSamples
from audiocls.comparison.methods import compare, plan_trainings, train_candidate
from audiocls.errors import LeakageError
from audiocls.evaluation.scoring import evaluate
from audiocls.heads.after_training import balance_head
from audiocls.params.run import RunParams
from audiocls.params_file.candidates import list_candidates, params_to_train
from audiocls.params_file.reading import load_params
from audiocls.sources.manifest import list_clips
from audiocls.splits.assignment import assign_splits
from audiocls.splits.prepared_data import PreparedData
from audiocls.training.run import fit
from audiocls.waveforms.corpus import collect_corpus
from audiocls.waveforms.shards import write_shard
from audiocls.waveforms.store import plan_store


@pytest.fixture(scope="module")
def prepared(tones, tmp_path_factory):
    """(the data, the training of a plain model); clips have two windows."""
    workspace = tmp_path_factory.mktemp("compared")
    params = RunParams.model_validate(
        {
            "workspace": str(workspace),
            "data": {"source": "folder", "path": str(tones), "group_by": "file"},
            "audio": {"max_seconds": 0.25},
            "split": {"test_fraction": 0.3, "validation_fraction": 0.3},
            "model": {"config": {"channels": [4, 8]}},
            "evaluation": {"robustness_clips": 0},
            "training": {"batch_size": 8, "learning_rate": 1.0e-2, "epochs": 2},
        }
    )
    manifest = list_clips(params.data, workspace)
    plan = plan_store(manifest, params.audio, workspace)
    for shard in plan.shards:
        write_shard(shard, params.audio)
    corpus = collect_corpus(manifest, plan, workspace)
    splits = assign_splits(corpus.clips, params.split, params.seed, workspace)
    (training,) = plan_trainings(params, workspace)
    data = PreparedData(splits, corpus.store, params)
    return data, train_candidate(training, data)


def scores_by_run(prepared, balance_params, folder):
    """Train as a run by the method would, from the plain model's weights; return its metrics."""
    data, _ = prepared
    own = data.params.model_copy(update={"balance": balance_params})
    data = replace(data, params=own)
    balanced = balance(data.split_clips, own.balance, own.seed, own.workspace)
    model = fit(data, balanced, folder, lambda metrics, step: None)
    balance_head(model.folder, balanced, data, folder)
    return evaluate(model.folder, data, folder).metrics


@pytest.mark.parametrize("method", ["decoupled, smote", "post_hoc_logit_adjustment"])
def test_what_is_compared_is_what_a_run_by_the_method_scores(prepared, method, tmp_path):
    data, training = prepared
    params = data.params
    asked = params.model_copy(update={"comparison": params.comparison.model_copy(update={"seeds": 1})})
    compared = compare([training], replace(data, params=asked), tmp_path / "compared")
    row = pd.read_parquet(compared.folder / "runs.parquet").set_index("method").loc[method]
    (candidate,) = (each for each in list_candidates(params) if each.name == method)
    metrics = scores_by_run(prepared, params_to_train(params, candidate).balance, tmp_path / "run")
    for metric in ("f1_macro", "balanced_accuracy"):
        assert row[f"test/{metric}"] == pytest.approx(metrics[f"test/{metric}"])


def test_a_held_out_clip_among_the_synthetic_samples_stops_the_comparison_and_is_named(prepared, tmp_path, monkeypatch):
    data, training = prepared
    table = pd.read_parquet(data.split_clips)
    planted = table.loc[table["split"] == "test", "clip_id"].iloc[0]
    listed = SyntheticSamples.table

    def leaking(samples: SyntheticSamples, clip_ids):
        rows = listed(samples, clip_ids)
        rows.loc[len(rows) - 1, "clip_id"] = planted
        return rows

    monkeypatch.setattr(SyntheticSamples, "table", leaking)
    with pytest.raises(LeakageError, match=f"1 row to train on is not in the training split: {planted}"):
        compare([training], data, tmp_path)
    assert not (tmp_path / "train.yaml").exists()


def test_a_method_that_could_not_be_trained_by_is_told_with_the_reason(prepared, tmp_path):
    data, training = prepared
    compared = compare([training], data, tmp_path, refused={"ldam, end to end": "one class"})
    assert "Not compared: ldam, end to end. one class" in compared.summary


def test_a_pretrained_encoder_stays_and_heads_on_it_are_compared(prepared, tmp_path):
    data, training = prepared
    sections = data.params.model_dump(mode="json") | {
        "model": {"pretrained": str(training.folder)},
        "comparison": {"methods": ["weighted_loss", "smote"], "seeds": 2},
    }
    asked = RunParams.model_validate(sections)
    (encoder,) = plan_trainings(asked, tmp_path)
    data = replace(data, params=asked)
    compared = compare([train_candidate(encoder, data)], data, tmp_path)
    before, after = (load_file(each.folder / "model.safetensors") for each in (training, encoder))
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items() if "classifier" not in name)
    runs = pd.read_parquet(compared.folder / "runs.parquet")
    assert set(runs["method"]) == {"none", "weighted_loss", "smote"}
    assert runs.groupby("method")["seed"].apply(list).tolist() == [[17, 18]] * 3
    assert np.isfinite(runs["test/f1_macro"]).all()
    written = load_params(compared.params_file)
    assert (written.model.freeze, written.model.pretrained) == ("encoder", str(training.folder))
    step = {"training": written.training.model_copy(update={"max_steps": 1})}
    balanced = balance(data.split_clips, written.balance, written.seed, written.workspace)
    data = replace(data, params=written.model_copy(update=step))
    model = fit(data, balanced, tmp_path / "best", lambda metrics, step: None)
    assert (model.folder / "model.safetensors").exists()
