"""Long files with one label each: trained, evaluated and used by windows."""

from __future__ import annotations

import os
import signal

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from safetensors.torch import load_file

from audiocls.balance.selection import balance
from audiocls.balance.window_draws import WindowSampler
from audiocls.batches.loading import choose_loading
from audiocls.evaluation.scoring import evaluate
from audiocls.inference.classifier import Classifier
from audiocls.models.inference_settings import load_settings
from audiocls.params.run import RunParams
from audiocls.splits.prepared_data import PreparedData
from audiocls.training import arguments
from audiocls.training.batch_trainer import BatchTrainer
from audiocls.training.run import fit
from audiocls.waveforms.corpus import collect_corpus

RATE_HZ = 16_000
FILES = {"train": (20, 8), "validation": (9, 7), "test": (9, 7)}  # quiet, beep
CHUNK = {"seconds": 0.25, "hop": 0.2, "per_epoch": 4}


def write_room(path, seed: int, *, beeps: bool):
    """Two seconds of noise, and in some a beep of 0.3 s."""
    rng = np.random.default_rng(seed)
    sound = rng.normal(0, 0.03, 2 * RATE_HZ)
    if beeps:
        start = rng.integers(0, len(sound) - 4_800)
        sound[start : start + 4_800] += 0.4 * np.sin(np.arange(4_800) * 2 * np.pi * 1_500 / RATE_HZ)
    soundfile.write(path, sound.astype(np.float32), RATE_HZ)
    return path


def run_params(workspace, *, chunk=CHUNK, **sections) -> RunParams:
    return RunParams.model_validate(
        {
            "workspace": str(workspace),
            "data": {"source": "sample"},
            "audio": {"chunk": chunk},
            "model": {"config": {"channels": [4, 8], "dropout": 0.2}},
            "evaluation": {"robustness_clips": 0},
            "training": {"batch_size": 8, "epochs": 12, "learning_rate": 1.0e-2},
        }
        | sections
    )


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, list_table, fill_store):
    """(split clips, waveform store, workspace): the sound of a class is in two of ten windows of its files."""
    workspace, rows = tmp_path_factory.mktemp("rooms"), []
    for split, (quiet, beep) in FILES.items():
        for number in range(quiet + beep):
            label = "quiet" if number < quiet else "beep"
            path = write_room(workspace / f"{split}-{number}.wav", len(rows), beeps=label == "beep")
            rows.append((str(path), label, split))
    manifest = list_table(workspace, rows, ("path", "label", "split"))
    corpus = collect_corpus(manifest, fill_store(manifest, workspace), workspace)
    return corpus.clips, corpus.store, workspace


def train(prepared, folder, params, log=lambda metrics, step: None):
    splits, store, workspace = prepared
    balanced = balance(splits, params.balance, params.seed, workspace)
    return fit(PreparedData(splits, store, params), balanced, folder, log)


@pytest.fixture(scope="module")
def trained(prepared, tmp_path_factory):
    """(model folder, evaluation, validation metrics of the last epoch)."""
    folder, log = tmp_path_factory.mktemp("trained"), []
    params = run_params(folder)
    model = train(prepared, folder, params, lambda metrics, step: log.append(metrics))
    evaluation = evaluate(model.folder, PreparedData(*prepared[:2], params), folder / "evaluation")
    return model.folder, evaluation, [each for each in log if "validation/f1_macro" in each][-1]


def weights(folder) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def are_equal(one, other) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_sound_in_few_windows_is_learned_from_the_labels_of_files(trained):
    folder, evaluation, validation = trained
    assert evaluation.metrics["test/f1_macro"] > 0.9
    # Most windows of a file with a beep have none.
    assert evaluation.metrics["test/window/f1_macro"] < evaluation.metrics["test/f1_macro"] - 0.1
    assert validation.keys() >= {"validation/window/f1_macro", "validation/window/accuracy"}
    # The mean over the windows hears mostly noise.
    assert load_settings(folder).pooling == evaluation.pooling != "mean"
    assert (evaluation.folder / "pooling.json").exists()
    # Of a file with one label it is not known when its sound is there.
    assert load_settings(folder).segmentation == {}
    assert "validation/event_f1" not in evaluation.metrics


def test_the_classifier_pools_as_it_was_evaluated(trained):
    folder, evaluation, _ = trained
    predictions = pd.read_parquet(evaluation.folder / "predictions.parquet")
    found = Classifier.load(folder).predict(predictions["path"].tolist())
    assert [each.label for each in found] == predictions["predicted"].tolist()
    assert [each.windows for each in found] == predictions["windows"].tolist() == [10] * len(predictions)
    np.testing.assert_allclose([each.probability for each in found], predictions["probability"], atol=1e-5)


def test_every_window_has_a_row_with_its_place_in_its_file(trained, prepared):
    folder, evaluation, _ = trained
    windows = pd.read_parquet(evaluation.folder / "windows.parquet")
    clips = pd.read_parquet(prepared[0])
    held_out = clips[clips["split"] != "train"]
    assert windows.groupby("clip_id").size().to_dict() == dict.fromkeys(held_out["clip_id"], 10)
    assert windows.groupby("clip_id")["split"].nunique().max() == 1
    clip = held_out.iloc[0]
    first = windows[windows["clip_id"] == clip["clip_id"]]
    np.testing.assert_allclose(first["start_seconds"], [*np.arange(9) * 0.2, 1.75])
    np.testing.assert_allclose(first["end_seconds"] - first["start_seconds"], 0.25)
    scores = Classifier.load(folder).windows(clip["path"])
    np.testing.assert_allclose(first[["probability/beep", "probability/quiet"]], scores.probabilities, atol=1e-5)


def test_batches_carry_their_files_and_an_epoch_has_some_windows_of_each(prepared, tmp_path, monkeypatch):
    seen: list[tuple[int, ...]] = []
    prepare = BatchTrainer._prepare_inputs

    def noted(trainer, inputs):
        if "origin" in inputs:
            seen.append(inputs["origin"].rows)
        return prepare(trainer, inputs)

    monkeypatch.setattr(BatchTrainer, "_prepare_inputs", noted)
    train(prepared, tmp_path, run_params(tmp_path, training={"batch_size": 8, "epochs": 2}))
    assert len(seen) == 2 * 28 * 4 / 8
    for epoch in (seen[:14], seen[14:]):
        assert np.array_equal(np.bincount(np.concatenate(epoch)), [4] * 28)


AUGMENTED = {"augmentation": [{"kind": "noise"}], "balance": {"method": "oversample"}}
SHORT = {"training": {"batch_size": 8, "epochs": 2}}


def test_workers_of_the_loader_draw_the_same_windows(prepared, tmp_path, monkeypatch):
    alone = train(prepared, tmp_path / "alone", run_params(tmp_path, **AUGMENTED, **SHORT))
    two = choose_loading("cuda", cores=3)
    assert two.workers == 2
    monkeypatch.setattr(arguments, "choose_loading", lambda device: type(two)(two.workers, two.prefetch, pinned=False))
    loaded = train(prepared, tmp_path / "loaded", run_params(tmp_path, **AUGMENTED, **SHORT))
    assert are_equal(weights(alone.folder), weights(loaded.folder))


def test_a_training_that_is_resumed_within_an_epoch_draws_the_same_windows(prepared, tmp_path):
    params = run_params(tmp_path, **AUGMENTED, **SHORT)
    undisturbed = train(prepared, tmp_path / "undisturbed", params)

    def interrupt(metrics, step):
        if step == 30 and "train/loss" in metrics:  # in the second epoch of 20 steps
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(prepared, tmp_path / "resumed", params, interrupt)
    assert [path.name for path in (tmp_path / "resumed" / "checkpoints").glob("checkpoint-3*")]
    resumed = train(prepared, tmp_path / "resumed", params)
    assert resumed.steps == undisturbed.steps == 40
    assert are_equal(weights(undisturbed.folder), weights(resumed.folder))


def test_files_are_balanced_and_not_windows(prepared, tmp_path, monkeypatch):
    drawn: list[list[int]] = []
    begin = WindowSampler.__iter__

    def noted(sampler):
        drawn.append(list(begin(sampler)))
        return iter(drawn[-1])

    monkeypatch.setattr(WindowSampler, "__iter__", noted)
    splits, _, workspace = prepared
    params = run_params(tmp_path, balance={"method": "oversample"}, training={"batch_size": 8, "max_steps": 1})
    assert balance(splits, params.balance, params.seed, workspace).counts_after == {"beep": 20, "quiet": 20}
    train(prepared, tmp_path, params)
    clips = pd.read_parquet(splits)
    labels = clips.loc[clips["split"] == "train", "label"].to_numpy()
    windows = np.bincount(np.array(drawn[0]) % 280 // 10)
    assert (windows[labels == "quiet"] == 4).all()
    assert windows[labels == "beep"].sum() == 20 * 4


def test_a_fixed_pooling_also_chooses_the_checkpoint(prepared, tmp_path):
    log = []
    params = run_params(tmp_path, evaluation={"pooling": "max"}, **SHORT)
    model = train(prepared, tmp_path, params, lambda metrics, step: log.append(metrics))
    evaluation = evaluate(model.folder, PreparedData(*prepared[:2], params), tmp_path / "evaluation")
    assert load_settings(model.folder).pooling == "max"
    best = max(each["validation/f1_macro"] for each in log if "validation/f1_macro" in each)
    assert evaluation.metrics["validation/f1_macro"] == pytest.approx(best)
    assert not (evaluation.folder / "pooling.json").exists()
