from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings, strategies as st

from audiocls.batches.window_table import CLIP, count_windows, cut_into_windows
from audiocls.batches.windows import average_windows
from audiocls.evaluation.scoring import evaluate, predict
from audiocls.models.families import build_model, save_model
from audiocls.params.model import ModelParams
from audiocls.params.run import AudioParams, RunParams
from audiocls.splits.prepared_data import PreparedData
from audiocls.waveforms.corpus import collect_corpus

SAMPLES = 1_600  # 0.1 s


def clips_of(lengths: list[int]) -> pd.DataFrame:
    first = np.cumsum([7, *lengths[:-1]])
    hashes = [f"sha{i}" for i in range(len(lengths))]
    return pd.DataFrame({"first_sample": first, "num_samples": lengths, "audio_hash": hashes})


@settings(max_examples=30)
@given(
    lengths=st.lists(st.integers(1, 20_000), min_size=1, max_size=5),
    overlap=st.floats(0, 0.9),
)
def test_windows_cover_every_sample_overlap_as_asked_and_are_as_long_as_the_input(lengths, overlap):
    audio = AudioParams(max_seconds=0.1, window_overlap=overlap)
    clips = clips_of(lengths)
    windows = cut_into_windows(clips, audio)
    assert count_windows(clips, audio).tolist() == windows[CLIP].value_counts().sort_index().tolist()
    for position, clip in enumerate(clips.itertuples()):
        own = windows[windows[CLIP] == position]
        starts = own["first_sample"].to_numpy() - clip.first_sample
        assert (own["num_samples"] == min(SAMPLES, clip.num_samples)).all()
        assert starts[0] == 0
        assert starts[-1] + own["num_samples"].iloc[-1] == clip.num_samples
        assert (np.diff(starts) <= max(1, round(SAMPLES * (1 - overlap)))).all()
        assert (np.diff(starts) > 0).all()
        assert own["audio_hash"].is_unique
        assert (len(own) > 1) == (clip.num_samples > SAMPLES)


def test_a_clip_that_fits_is_its_own_window_under_its_own_hash():
    windows = cut_into_windows(clips_of([SAMPLES, 5_000, 10]), AudioParams(max_seconds=0.1))
    assert windows["audio_hash"].iloc[[0, -1]].tolist() == ["sha0", "sha2"]
    assert windows["audio_hash"].iloc[1:-1].tolist() == [f"sha1:{start}" for start in (*range(0, 3_400, 800), 3_400)]


@settings(max_examples=50)
@given(counts=st.lists(st.integers(1, 4), min_size=1, max_size=6), seed=st.integers(0, 99))
def test_a_clips_probabilities_are_the_mean_of_its_windows(counts, seed):
    logits = np.random.default_rng(seed).normal(0, 30, (sum(counts), 3)).astype(np.float32)
    clip = np.repeat(np.arange(len(counts)), counts)
    averaged = average_windows(logits, clip)
    assert np.isfinite(averaged).all()
    windows = torch.softmax(torch.from_numpy(logits), dim=1).numpy()
    found = torch.softmax(torch.from_numpy(averaged), dim=1).numpy()
    for position, count in enumerate(counts):
        np.testing.assert_allclose(found[position], windows[clip == position].mean(axis=0), atol=1e-5)
        if count == 1:
            assert np.array_equal(averaged[position], logits[clip == position][0])


def test_a_clip_whose_mels_are_fused_is_one_window_and_whole():
    windows = cut_into_windows(clips_of([5_000, 10]), AudioParams(max_seconds=0.1, truncate="fusion"))
    assert windows["num_samples"].tolist() == [5_000, 10]
    assert windows["audio_hash"].tolist() == ["sha0", "sha1"]


def test_one_loud_window_does_not_outvote_the_others():
    logits = np.array([[50.0, 0.0], [0.0, 3.0], [0.0, 3.0]], np.float32)
    assert average_windows(logits, np.zeros(3, np.int64)).argmax() == 1


@pytest.fixture
def long_and_short(tmp_path, write_tone, list_table, fill_store):
    """(clips table, waveform store): two long and two short clips for each of validation and test, and training."""
    rows = []
    for split in ("train", "validation", "test"):
        for label, hz in (("low", 300.0), ("high", 2_000.0)):
            for seconds in (0.08, 0.35):
                path = write_tone(tmp_path / f"{split}-{label}-{seconds}.wav", hz=hz, seconds=seconds)
                rows.append((str(path), label, split))
    manifest = list_table(tmp_path, rows, ("path", "label", "split"))
    corpus = collect_corpus(manifest, fill_store(manifest, tmp_path), tmp_path)
    return corpus.clips, corpus.store


def test_evaluation_scores_all_of_a_long_clip_and_says_how_many(long_and_short, tmp_path):
    clips, store = long_and_short
    audio = {"max_seconds": 0.1, "window_overlap": 0.0}
    params = RunParams.model_validate({"data": {"source": "sample"}, "audio": audio})
    torch.manual_seed(0)
    model, extractor = build_model(ModelParams(config={"channels": [4, 8]}), params.audio, ["high", "low"])
    save_model(model, extractor, tmp_path / "model")
    data = PreparedData(clips, store, params)
    evaluation = evaluate(tmp_path / "model", data, tmp_path / "evaluation")
    predictions = pd.read_parquet(tmp_path / "evaluation" / "predictions.parquet")
    assert predictions["windows"].tolist() == [4 if "0.35" in path else 1 for path in predictions["path"]]
    assert evaluation.metrics["test/clips_scored_by_windows"] == 2
    assert evaluation.metrics["validation/clips_scored_by_windows"] == 2
    table = pd.read_parquet(clips)
    one = table[table["path"].str.contains("test-low-0.35")]
    parts = pd.concat([one] * 4, ignore_index=True)
    parts["first_sample"] += np.array([0, 1_600, 3_200, 4_000])
    parts["num_samples"] = SAMPLES
    logits = predict(model.eval(), extractor, parts, data)
    expected = torch.softmax(torch.from_numpy(logits), dim=1).mean(dim=0)
    found = predictions.loc[predictions["path"].str.contains("test-low-0.35"), ["probability/high", "probability/low"]]
    np.testing.assert_allclose(found.to_numpy()[0], expected, atol=1e-5)
