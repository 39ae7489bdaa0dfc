"""A training that is killed, or interrupted, and begun again ends with the weights of an undisturbed one."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_configs import TINY_CONFIGS

from audiocls.balance.selection import balance
from audiocls.params.run import RunParams
from audiocls.sources.manifest import list_clips
from audiocls.splits.assignment import assign_splits
from audiocls.splits.prepared_data import PreparedData
from audiocls.training.resumption import last_checkpoint
from audiocls.training.run import fit
from audiocls.training.trainer import ClassifierTrainer
from audiocls.waveforms.corpus import collect_corpus
from audiocls.waveforms.shards import write_shard
from audiocls.waveforms.store import plan_store


@pytest.fixture(scope="module")
def prepared(tones, tmp_path_factory):
    """(split clips, balanced, store, params): 34 clips a pass, 2 a batch, cut at random, augmented, with dropout."""
    workspace = tmp_path_factory.mktemp("prepared")
    params = RunParams.model_validate(
        {
            "workspace": str(workspace),
            "data": {"source": "folder", "path": str(tones), "group_by": "file"},
            "audio": {"max_seconds": 0.2},
            "model": {"config": {"channels": [4, 8], "dropout": 0.3}},
            "augmentation": [{"kind": "noise"}, {"kind": "shift", "probability": 0.5}, {"kind": "mixup", "alpha": 1.0}],
            "training": {"epochs": 4, "batch_size": 2, "learning_rate": 5.0e-3, "ema_decay": 0.7},
        }
    )
    manifest = list_clips(params.data, workspace)
    plan = plan_store(manifest, params.audio, workspace)
    for shard in plan.shards:
        write_shard(shard, params.audio)
    corpus = collect_corpus(manifest, plan, workspace)
    splits = assign_splits(corpus.clips, params.split, params.seed, workspace)
    return splits, balance(splits, params.balance, params.seed, workspace), corpus.store, params


@pytest.fixture(scope="module")
def undisturbed(prepared, tmp_path_factory) -> dict[str, torch.Tensor]:
    folder = tmp_path_factory.mktemp("undisturbed")
    return weights_of(train(prepared, folder).folder)


def train(prepared, folder: Path):
    splits, balanced, store, params = prepared
    return fit(PreparedData(splits, store, params), balanced, folder, lambda metrics, step: None)


def weights_of(model_folder: Path) -> dict[str, torch.Tensor]:
    return load_file(model_folder / "model.safetensors")


def train_until(prepared, folder: Path, stop_step: int, number: signal.Signals) -> int | None:
    """Train in a process of its own that sends itself a signal; return how that process ended."""
    splits, balanced, store, params = prepared

    def log(metrics, step):
        if step == stop_step and "train/loss" in metrics:
            os.kill(os.getpid(), number)

    def train_and_be_stopped():
        with contextlib.suppress(KeyboardInterrupt):
            fit(PreparedData(splits, store, params), balanced, folder, log)
            os._exit(99)  # it came to its end
        os._exit(130)

    process = multiprocessing.get_context("fork").Process(target=train_and_be_stopped)
    process.start()
    process.join(timeout=120)
    return process.exitcode


@pytest.mark.parametrize(
    ("number", "exit_code", "saved"),
    [(signal.SIGKILL, -signal.SIGKILL, 34), (signal.SIGINT, 130, 41)],
    ids=["killed in the third pass", "Ctrl-C in the third pass"],
)
def test_the_weights_are_those_of_an_undisturbed_training(number, exit_code, saved, prepared, undisturbed, tmp_path):
    assert train_until(prepared, tmp_path, 40, number) == exit_code
    folder = tmp_path / "checkpoints" / f"checkpoint-{saved}"
    written = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    # A checkpoint without it is none: nothing that training goes on from may be written after it.
    assert written["trainer_state.json"] == max(written.values())
    assert {"model.safetensors", "averaged_weights.safetensors", "optimizer.pt", "rng_state.pth"} <= set(written)
    checkpoints = [path.name for path in (tmp_path / "checkpoints").glob("checkpoint-*")]
    assert f"checkpoint-{saved}" in checkpoints  # the end of a pass of 17 steps, or the step after the signal's
    assert len(checkpoints) <= 2
    resumed = train(prepared, tmp_path)
    assert resumed.epochs == 4
    found = weights_of(resumed.folder)
    assert all(torch.equal(tensor, found[name]) for name, tensor in undisturbed.items())


@pytest.mark.parametrize(
    ("training", "steps"),
    [
        ({"max_steps": 2}, 2),
        ({"batch_size": 17, "learning_rate": 1.0e-12, "epochs": 9, "early_stopping_patience": 1}, 4),
    ],
    ids=["the last step is in the middle of a pass", "patience had ended"],
)
def test_ctrl_c_behind_the_last_checkpoint_ends_the_run_too(training, steps, prepared, tmp_path, monkeypatch):
    splits, balanced, store, params = prepared
    params = params.model_copy(update={"training": params.training.model_copy(update=training)})
    load = ClassifierTrainer._load_best_model

    def interrupted(trainer: ClassifierTrainer) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        load(trainer)

    monkeypatch.setattr(ClassifierTrainer, "_load_best_model", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train((splits, balanced, store, params), tmp_path)
    assert not (tmp_path / "model").exists()
    monkeypatch.undo()
    assert train((splits, balanced, store, params), tmp_path).steps == steps  # and none more


def test_a_long_pass_that_is_killed_goes_on_from_the_checkpoint_of_the_clock(prepared, undisturbed, tmp_path):
    splits, balanced, store, params = prepared
    at_every_step = params.training.model_copy(update={"checkpoint_minutes": 1e-9})
    params = params.model_copy(update={"training": at_every_step})
    assert train_until((splits, balanced, store, params), tmp_path, 30, signal.SIGKILL) == -signal.SIGKILL
    checkpoints = {path.name for path in (tmp_path / "checkpoints").glob("checkpoint-*")}
    assert checkpoints == {"checkpoint-17", "checkpoint-29"}  # the best one and the last one, in the second pass
    found = weights_of(train((splits, balanced, store, params), tmp_path).folder)
    assert all(torch.equal(tensor, found[name]) for name, tensor in undisturbed.items())


# LoRA's own dropout, and the average of frozen weights beside trained ones.
LORA = {
    "model": {
        "family": "hubert",
        "config": TINY_CONFIGS["hubert"] | {"mask_time_length": 2},
        "lora": {"rank": 2, "dropout": 0.3, "target_modules": ["q_proj", "v_proj"]},
    },
    "training": {"epochs": 2, "batch_size": 2, "learning_rate": 5.0e-3, "ema_decay": 0.7},
}


@pytest.mark.parametrize(
    ("sections", "stop_step", "number"),
    [
        ({"balance": {"method": "progressive"}}, 50, signal.SIGINT),
        ({"balance": {"method": "ldam"}}, 50, signal.SIGINT),
        (LORA, 30, signal.SIGKILL),
    ],
    ids=["progressive", "ldam", "LoRA and the average of the weights"],
)
def test_draws_losses_adapters_and_averages_go_on_where_they_were(sections, stop_step, number, prepared, tmp_path):
    if "lora" in sections.get("model", {}):
        pytest.importorskip("peft", reason="the extra lora is not installed")
    splits, _, store, params = prepared
    params = RunParams.model_validate(params.model_dump() | {"augmentation": []} | sections)
    balanced = balance(splits, params.balance, params.seed, tmp_path)
    one = (splits, balanced, store, params)
    undisturbed = weights_of(train(one, tmp_path / "undisturbed").folder)
    exit_code = 130 if number == signal.SIGINT else -number
    assert train_until(one, tmp_path / "killed", stop_step, number) == exit_code
    found = weights_of(train(one, tmp_path / "killed").folder)
    assert not any("lora" in name for name in found)  # merged: an ordinary model
    assert all(torch.equal(tensor, found[name]) for name, tensor in undisturbed.items())


def test_half_a_checkpoint_is_removed_and_the_one_before_it_taken(tmp_path):
    rows = tmp_path / "rows"
    rows.write_text("1")
    assert last_checkpoint(tmp_path / "checkpoints", {"rows": rows}) is None
    for step, is_whole in ((8, True), (16, True), (100, False)):
        folder = tmp_path / "checkpoints" / f"checkpoint-{step}"
        folder.mkdir()
        if is_whole:
            (folder / "trainer_state.json").write_text("{}")
    found = last_checkpoint(tmp_path / "checkpoints", {"rows": rows})
    assert found == tmp_path / "checkpoints" / "checkpoint-16"
    assert not (tmp_path / "checkpoints" / "checkpoint-100").exists()


def test_checkpoints_of_other_data_are_not_gone_on_from(tmp_path, caplog):
    rows = tmp_path / "rows"
    rows.write_text("1")
    last_checkpoint(tmp_path / "checkpoints", {"rows": rows})
    (tmp_path / "checkpoints" / "checkpoint-8").mkdir()
    (tmp_path / "checkpoints" / "checkpoint-8" / "trainer_state.json").write_text("{}")
    rows.write_text("2")
    assert last_checkpoint(tmp_path / "checkpoints", {"rows": rows}) is None
    assert "training restarts" in caplog.text
    assert not (tmp_path / "checkpoints" / "checkpoint-8").exists()
