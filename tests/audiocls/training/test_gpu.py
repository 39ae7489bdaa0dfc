"""Training and evaluation where there is a GPU: on the pretended one, where tensors of two devices do not mix."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from pretended_gpu import pretended_gpu
from tiny_configs import TINY_CONFIGS

from audiocls.balance.selection import balance
from audiocls.evaluation.scoring import evaluate
from audiocls.heads.after_training import balance_head
from audiocls.params.run import RunParams
from audiocls.sources.manifest import list_clips
from audiocls.splits.assignment import assign_splits
from audiocls.splits.prepared_data import PreparedData
from audiocls.training.run import fit
from audiocls.waveforms.corpus import collect_corpus

# torch itself knows that no GPU is here, and pins no memory.
pytestmark = pytest.mark.filterwarnings("ignore:'pin_memory' argument is set as true")

# What needs no folder of recordings.
AUGMENTATION = [
    {"kind": kind, "probability": 0.5}
    for kind in (
        "gain", "noise", "shift", "speed", "pitch", "reverb", "low_pass", "high_pass", "band_pass", "codec",
        "time_mask", "frequency_mask", "mixup",
    )
]  # fmt: skip
LEVERS = {"ema_decay": 0.9, "gradient_accumulation_steps": 2, "label_smoothing": 0.1, "optimizer": "adafactor"}


@pytest.fixture(scope="module")
def prepared(tones, tmp_path_factory, fill_store):
    """(clips with their splits, waveform store) of the tones."""
    workspace = tmp_path_factory.mktemp("prepared")
    params = run_params(workspace, tones)
    manifest = list_clips(params.data, workspace)
    corpus = collect_corpus(manifest, fill_store(manifest, workspace), workspace)
    return assign_splits(corpus.clips, params.split, params.seed, workspace), corpus.store


def run_params(workspace: Path, tones: Path, family: str = "logmel-resnet", training=(), **sections) -> RunParams:
    return RunParams.model_validate(
        {
            "workspace": str(workspace),
            "data": {"source": "folder", "path": str(tones), "group_by": "file"},
            "audio": {"max_seconds": 0.3},
            "model": {"family": family, "config": TINY_CONFIGS[family]},
            "evaluation": {"robustness_clips": 0},
            "training": {"batch_size": 8, "learning_rate": 1.0e-3, "max_steps": 3} | dict(training),
            **sections,
        }
    )


def run(prepared, params: RunParams, folder: Path):
    """Train, balance the head and evaluate; return (trained model, test metrics, predictions)."""
    clips, store = prepared
    balanced = balance(clips, params.balance, params.seed, folder)
    data = PreparedData(clips, store, params)
    trained = fit(data, balanced, folder, lambda metrics, step: None)
    balance_head(trained.folder, balanced, data, folder)
    report = evaluate(trained.folder, data, folder / "evaluation")
    return trained, report.metrics, pd.read_parquet(report.folder / "predictions.parquet")


@pytest.mark.parametrize(
    "family",
    ["logmel-resnet", "wav2vec2", "wav2vec2-bert", "audio-spectrogram-transformer", "whisper", "clap"],
)
def test_every_kind_of_input_is_augmented_trained_on_and_scored_there(family, prepared, tones, tmp_path):
    params = run_params(tmp_path, tones, family, LEVERS, balance={"method": "weighted_loss"}, augmentation=AUGMENTATION)
    with pretended_gpu():
        trained, metrics, _ = run(prepared, params, tmp_path)
    assert (trained.device, trained.precision, trained.steps) == ("cuda", "bf16", 3)
    assert 0 <= metrics["test/f1_macro"] <= 1
    assert np.isfinite(metrics["test/loss"])


@pytest.mark.parametrize("method", ["decoupled", "ldam", "post_hoc_logit_adjustment"])
def test_balance_methods_with_tensors_of_their_own_work_there(method, prepared, tones, tmp_path):
    with pretended_gpu():
        _, metrics, _ = run(prepared, run_params(tmp_path, tones, balance={"method": method}), tmp_path)
    assert np.isfinite(metrics["test/loss"])


def test_the_gpus_way_to_features_gives_the_scores_of_the_cpus(prepared, tones, tmp_path):
    family = "audio-spectrogram-transformer"  # in whose tiny config nothing is drawn at random
    scores = []
    for device in ("cpu", "cuda"):
        folder = tmp_path / device
        params = run_params(folder, tones, family, {"precision": "fp32"})
        if device == "cuda":
            with pretended_gpu():
                trained, _, predictions = run(prepared, params, folder)
        else:
            trained, _, predictions = run(prepared, params, folder)
        assert trained.device == device
        scores.append(predictions.filter(like="probability").to_numpy())
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-5)


def test_what_cuda_refuses_is_refused():
    with pretended_gpu():
        there = torch.ones(3, device="cuda")
        assert there.device == torch.device("cuda", 0) == (there * 2).device == there.exp().device
        assert torch.ones(3).device.type == there.cpu().device.type == "cpu"
        assert (there + torch.tensor(1.0)).device.type == "cuda"  # a number may come from the CPU
        for mixed in (
            lambda: there + torch.ones(3),
            lambda: torch.ones(3).add_(there),
            lambda: torch.ones(3)[there > 0],
        ):
            with pytest.raises(RuntimeError, match="on the CPU those of shapes"):
                mixed()
        with pytest.raises(TypeError, match="cuda:0"):
            there.numpy()
        with pytest.raises(TypeError, match="cuda:0"):
            np.asarray(there)
