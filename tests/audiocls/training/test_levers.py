"""What can be set of a training, all at once, in every family."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file
from tiny_configs import TINY_CONFIGS
from variants import QUICK_FAMILIES, some

from audiocls.balance.selection import balance
from audiocls.models.adapters import ADAPTERS
from audiocls.params.model import FAMILIES
from audiocls.params.run import RunParams
from audiocls.params_file.conflicts import find_conflicts
from audiocls.sources.manifest import list_clips
from audiocls.splits.assignment import assign_splits
from audiocls.splits.prepared_data import PreparedData
from audiocls.training.run import fit
from audiocls.waveforms.corpus import collect_corpus

LEVERS = {
    "optimizer": "adafactor",
    "learning_rate": 1.0e-3,
    "head_learning_rate": 5.0e-3,
    "layer_decay": 0.5,
    "schedule": "cosine_with_restarts",
    "restarts": 2,
    "batch_size": 10,
    "gradient_accumulation_steps": 2,
    "weight_decay": 0.1,
    "label_smoothing": 0.1,
    "early_stopping_patience": 1,
    "ema_decay": 0.5,
    "precision": "bf16",
    "device": "cpu",
    "max_steps": 3,  # a pass of 34 clips has two, the second with a short batch
}


def run_params(workspace: Path, tones: Path, family: str) -> RunParams:
    return RunParams.model_validate(
        {
            "workspace": str(workspace),
            "data": {"source": "folder", "path": str(tones), "group_by": "file"},
            "audio": {"max_seconds": 0.2},
            "model": {"family": family, "config": TINY_CONFIGS[family]},
            "balance": {"method": "weighted_loss"},
            "augmentation": [{"kind": "gain"}, {"kind": "mixup"}],
            "training": LEVERS | {"gradient_checkpointing": ADAPTERS[family].can_checkpoint},
        }
    )


@pytest.fixture(scope="module")
def prepared(tones, tmp_path_factory, fill_store):
    """(split clips, balanced, waveform store) of the tones."""
    workspace = tmp_path_factory.mktemp("prepared")
    params = run_params(workspace, tones, "logmel-resnet")
    manifest = list_clips(params.data, workspace)
    corpus = collect_corpus(manifest, fill_store(manifest, workspace), workspace)
    splits = assign_splits(corpus.clips, params.split, params.seed, workspace)
    return splits, balance(splits, params.balance, params.seed, workspace), corpus.store


@pytest.mark.parametrize("family", some(FAMILIES, QUICK_FAMILIES))
def test_all_levers_go_together(family, prepared, tones, tmp_path):
    params = run_params(tmp_path, tones, family)
    assert find_conflicts(params) == []
    log: list[tuple[dict[str, float], int]] = []
    splits, balanced, store = prepared
    model = fit(
        PreparedData(splits, store, params), balanced, tmp_path, lambda metrics, step: log.append((metrics, step))
    )
    assert (model.steps, model.precision) == (3, "bf16")
    measured = {name: value for metrics, _ in log for name, value in metrics.items()}
    assert {"train/loss", "train/grad_norm", "validation/loss"} <= measured.keys()
    assert np.isfinite([*measured.values()]).all()
    weights = load_file(model.folder / "model.safetensors").values()
    assert all(tensor.isfinite().all() for tensor in weights if tensor.is_floating_point())
