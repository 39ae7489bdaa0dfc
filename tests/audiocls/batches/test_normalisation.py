from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import soundfile
from tiny_configs import TINY_CONFIGS
from transformers import AutoFeatureExtractor

from audiocls.balance.selection import balance
from audiocls.batches.normalisation import normalise_by_training
from audiocls.errors import DataError
from audiocls.features.store import plan_features
from audiocls.models.families import build_extractor
from audiocls.models.inputs import model_inputs
from audiocls.params.run import RunParams
from audiocls.splits.prepared_data import PreparedData
from audiocls.training.run import fit
from audiocls.waveforms.corpus import collect_corpus


def run_params(workspace, family="audio-spectrogram-transformer", **model):
    return RunParams.model_validate(
        {
            "workspace": str(workspace),
            "data": {"source": "sample"},
            "audio": {"max_seconds": 1.0, "cache_features": "always"},
            "model": {"family": family, "config": TINY_CONFIGS[family]} | model,
            "training": {"batch_size": 4, "max_steps": 1},
        }
    )


@pytest.fixture
def noise(tmp_path, list_table, fill_store):
    """(clips table, waveform store): quiet white noise to train on, 0.5 s each, and loud noise held out."""
    rng, rows = np.random.default_rng(0), []
    for split, level in (("train", 0.01), ("validation", 0.2), ("test", 0.2)):
        for label in ("a", "b"):
            for take in range(4):
                path = tmp_path / f"{split}-{label}-{take}.wav"
                soundfile.write(path, rng.normal(0, level, 8_000), 16_000, subtype="PCM_16")
                rows.append((str(path), label, split))
    manifest = list_table(tmp_path, rows, ("path", "label", "split"))
    corpus = collect_corpus(manifest, fill_store(manifest, tmp_path), tmp_path)
    return corpus.clips, corpus.store


def test_inputs_of_training_clips_have_mean_zero_and_the_deviation_of_the_paper(noise, tmp_path):
    table, store = pd.read_parquet(noise[0]), noise[1]
    params = run_params(tmp_path)
    extractor = build_extractor(params.model, params.audio)
    extractor.do_normalize = False
    clips = [np.random.default_rng(seed).normal(0, 0.01, 8_000).astype(np.float32) for seed in range(1, 5)]
    frames = model_inputs(clips, extractor, 16_000)["input_values"][:, :48]
    extractor.do_normalize = True
    found = normalise_by_training(extractor, table, store, params)
    assert found == {"train/feature_mean": extractor.mean, "train/feature_std": extractor.std}
    # Other draws of the same noise: the statistics are of the distribution, and know nothing of the loud clips or of
    # the zeros that fill the second half of the input.
    assert extractor.mean == pytest.approx(float(frames.mean()), abs=0.05)
    assert extractor.std == pytest.approx(float(frames.std()), rel=0.05)
    normal = model_inputs(clips, extractor, 16_000)["input_values"][:, :48]
    assert abs(float(normal.mean())) < 0.03
    assert float(normal.std()) == pytest.approx(0.5, abs=0.03)


def test_ten_times_the_amplitude_is_a_hundred_times_the_power(noise, tmp_path):
    table, params = pd.read_parquet(noise[0]), run_params(tmp_path)
    found = []
    for scale in (1.0, 10.0):
        extractor = build_extractor(params.model, params.audio)
        normalise_by_training(extractor, table.assign(scale=table["scale"] * scale), noise[1], params)
        found.append(extractor)
    assert found[1].mean - found[0].mean == pytest.approx(np.log(100), abs=1e-3)
    assert found[1].std == pytest.approx(found[0].std, abs=1e-3)


def test_they_are_saved_with_the_model_logged_and_part_of_the_stores_key(noise, tmp_path):
    clips, store = noise
    params, logged = run_params(tmp_path), {}
    balanced = balance(clips, params.balance, params.seed, tmp_path)
    data = PreparedData(clips, store, params)
    folder = fit(data, balanced, tmp_path / "run", lambda metrics, _: logged.update(metrics)).folder
    saved = AutoFeatureExtractor.from_pretrained(folder)
    assert (logged["train/feature_mean"], logged["train/feature_std"]) == (saved.mean, saved.std)
    assert saved.mean != pytest.approx(-4.2677393)  # AudioSet's
    key = plan_features(data).store
    table = pd.read_parquet(clips)
    table.assign(scale=table["scale"] * np.where(table["split"] == "train", 1.0, 2.0)).to_parquet(tmp_path / "held.pq")
    table.assign(scale=table["scale"] * 2.0).to_parquet(tmp_path / "all.pq")
    assert plan_features(replace(data, split_clips=tmp_path / "held.pq")).store == key
    assert plan_features(replace(data, split_clips=tmp_path / "all.pq")).store != key
    kept = normalise_by_training(saved, table, store, run_params(tmp_path, pretrained=str(folder)))
    assert kept == {}


@pytest.mark.parametrize("family", ["whisper", "wav2vec2-bert", "clap", "logmel-resnet"])
def test_families_without_such_statistics_keep_their_extractor(family, tmp_path):
    params = run_params(tmp_path, family)
    assert normalise_by_training(build_extractor(params.model, params.audio), None, None, params) == {}


def test_without_training_clips_there_are_none(noise, tmp_path):
    table, params = pd.read_parquet(noise[0]).query("split == 'test'"), run_params(tmp_path)
    with pytest.raises(DataError, match="no training clips"):
        normalise_by_training(build_extractor(params.model, params.audio), table, noise[1], params)
