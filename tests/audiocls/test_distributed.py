"""Two processes on the CPU train as one does with the doubled batch."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from audiocls.balance import balance
from audiocls.corpus import collect_corpus
from audiocls.distributed import _error_of, _hand_on, read_job, write_job
from audiocls.errors import ParamsError
from audiocls.manifest import list_clips
from audiocls.params import RunParams
from audiocls.splits import assign_splits
from audiocls.training import fit

sys.path.append(str(Path(__file__).parent / "models"))
from tiny_configs import TINY_CONFIGS

FAMILY = "audio-spectrogram-transformer"  # layer norms: batch norms would see each process's clips alone
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def run_params(workspace: Path, tones: Path, **training) -> RunParams:
    return RunParams.model_validate(
        {
            "workspace": str(workspace),
            "data": {"source": "folder", "path": str(tones), "group_by": "file"},
            "audio": {"max_seconds": 0.2, "truncate": "head"},
            "model": {"family": FAMILY, "config": TINY_CONFIGS[FAMILY] | NO_DROPOUT},
            "training": {"learning_rate": 1.0e-3, **training},
        }
    )


@pytest.fixture
def prepared(tones, tmp_path, fill_store):
    params = run_params(tmp_path, tones)
    manifest = list_clips(params.data, tmp_path)
    corpus = collect_corpus(manifest, fill_store(manifest, tmp_path), tmp_path)
    splits = assign_splits(corpus.clips, params.split, params.seed, tmp_path)
    return splits, balance(splits, params.balance, params.seed, tmp_path), corpus.store


def test_two_processes_train_as_one_with_the_doubled_batch(prepared, tones, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    logs, weights = {}, {}
    for processes in (1, 2):
        params = run_params(tmp_path, tones, processes=processes, batch_size=8 // processes, max_steps=4)
        log = logs.setdefault(processes, [])
        folder = tmp_path / str(processes)
        model = fit(*prepared, params, folder, lambda metrics, step, log=log: log.append((step, metrics)))
        assert model.steps == 4  # of five an epoch: the fifth batch is not full, and two processes would fill theirs
        assert model.folder == folder / "model"
        weights[processes] = load_file(model.folder / "model.safetensors")
    assert [step for step, _ in logs[1]] == [step for step, _ in logs[2]]
    for (_, alone), (_, together) in zip(logs[1], logs[2], strict=True):
        # The validation loss of uneven shares is a mean of means.
        assert together == pytest.approx(alone, rel=1e-2 if "validation/loss" in alone else 1e-3, abs=1e-4)
    for name, tensor in weights[1].items():
        assert (tensor - weights[2][name]).abs().max() < 1e-3, name


def test_a_job_file_holds_all_that_a_process_needs(prepared, tones, tmp_path):
    splits, balanced, store = prepared
    job = {
        "split_clips": splits, "balanced": balanced, "store": store, "params": run_params(tmp_path, tones, processes=2),
        "folder": tmp_path / "run", "features": None, "checkpoint": tmp_path / "checkpoint-7",
    }  # fmt: skip
    assert read_job(write_job(**job)) == job


def test_what_the_first_process_says_is_handed_on(capsys, caplog):
    events = [
        {"kind": "metrics", "metrics": {"train/loss": 0.5}, "step": 3},
        {"kind": "log", "logger": "audiocls.training", "level": 30, "message": "50 % of it"},
        {"kind": "error", "error": {"type": "ParamsError", "message": "model.pretrained = x: cannot be loaded"}},
    ]
    lines = ["a library says something\n", *(f"audiocls-event {json.dumps(event)}\n" for event in events)]
    seen, made = [], {}
    _hand_on(lines, lambda metrics, step: seen.append((metrics, step)), made)
    assert seen == [({"train/loss": 0.5}, 3)]
    assert "50 % of it" in caplog.text
    assert capsys.readouterr().err == "a library says something\n"
    error = _error_of(made, 1)
    assert isinstance(error, ParamsError)
    assert str(error) == "model.pretrained = x: cannot be loaded"
    assert "status 9" in str(_error_of({}, 9))
