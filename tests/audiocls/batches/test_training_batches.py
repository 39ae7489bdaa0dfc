from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from tiny_configs import TINY_CONFIGS
from transformers import TrainerControl

from audiocls.augmentation.pipeline import Augmenter
from audiocls.balance.selection import Balanced, balance
from audiocls.batches.dataset import ClipDataset, Collator
from audiocls.batches.training_batches import (
    ORIGIN,
    TrainingBatch,
    TrainingClips,
    TrainingCollator,
    augment_inputs,
    build_augmenter,
)
from audiocls.errors import TrainingError
from audiocls.features.store import plan_features, write_features
from audiocls.models.families import build_extractor, build_model
from audiocls.params.run import AudioParams, RunParams
from audiocls.sources.manifest import list_clips
from audiocls.splits.assignment import assign_splits
from audiocls.splits.prepared_data import PreparedData
from audiocls.training.arguments import prepare_model, training_arguments
from audiocls.training.batch_trainer import LengthGroups
from audiocls.training.loss_watch import LossWatch
from audiocls.training.losses import CrossEntropy
from audiocls.training.run import fit
from audiocls.training.trainer import ClassifierTrainer
from audiocls.waveforms.corpus import collect_corpus
from audiocls.waveforms.mapped import MappedWaveforms
from audiocls.waveforms.shards import write_shard
from audiocls.waveforms.store import plan_store

LABELS = ["high", "low", "middle"]
LOUD = [{"kind": "gain", "min_db": 12.0, "max_db": 12.0}]
LONGEST = 5_760  # samples of 0.36 s


def run_params(workspace: Path, augmentation=(), family: str = "logmel-resnet", **training) -> RunParams:
    return RunParams.model_validate(
        {
            "workspace": str(workspace),
            "data": {"source": "sample"},
            "audio": {"max_seconds": 0.36, "cache_features": "always"},
            "model": {"family": family, "config": TINY_CONFIGS[family]},
            "augmentation": list(augmentation),
            "training": {"batch_size": 4, "learning_rate": 5.0e-3, "max_steps": 3, **training},
        }
    )


@pytest.fixture(scope="module")
def prepared(tones, tmp_path_factory):
    """(split clips, balanced, waveform store) of the tones, which are 0.30 to 0.36 s long."""
    workspace = tmp_path_factory.mktemp("prepared")
    params = run_params(workspace)
    source = {"source": "folder", "path": str(tones), "group_by": "file"}
    manifest = list_clips(RunParams.model_validate({"data": source}).data, workspace)
    plan = plan_store(manifest, params.audio, workspace)
    for shard in plan.shards:
        write_shard(shard, params.audio)
    corpus = collect_corpus(manifest, plan, workspace)
    splits = assign_splits(corpus.clips, params.split, params.seed, workspace)
    return splits, balance(splits, params.balance, params.seed, workspace), corpus.store


@pytest.fixture
def read(prepared):
    """A function that serves the clips of a split."""

    def served(params: RunParams, split: str = "train") -> ClipDataset:
        table = pd.read_parquet(prepared[0]).query("split == @split")
        return ClipDataset(table, MappedWaveforms(table, prepared[2]), LABELS, params.audio, training=split == "train")

    return served


def collator(params: RunParams, **options) -> TrainingCollator:
    plain = Collator(build_extractor(params.model, params.audio), params.audio)
    return TrainingCollator(plain, build_augmenter(params, 3), **{"leave_to_device": False} | options)


@pytest.mark.parametrize("family", ["logmel-resnet", "wav2vec2", "audio-spectrogram-transformer"])
def test_training_clips_are_augmented_before_the_extractor_and_others_are_not(family, read, tmp_path):
    plain, loud = run_params(tmp_path, [], family), run_params(tmp_path, LOUD, family)
    rows = [3, 1, 7]
    before, after = (collator(p)(TrainingClips(read(p), 17).__getitems__(rows)) for p in (plain, loud))
    assert before[ORIGIN].rows == after[ORIGIN].rows == (3, 1, 7)
    assert torch.equal(before["labels"], after["labels"])
    waveforms = [10 ** (12 / 20) * read(plain).waveform(row) for row in rows]
    expected = collator(plain)([(waveform, 0) for waveform in waveforms])
    assert torch.allclose(after["input_values"], expected["input_values"], atol=1e-3)
    if family != "wav2vec2":  # whose extractor gives every clip the same level
        assert not torch.allclose(after["input_values"], before["input_values"], atol=0.1)
    held_out = read(loud, "validation").__getitems__([0, 1])
    assert torch.equal(collator(loud)(held_out)["input_values"], collator(plain)(held_out)["input_values"])


def test_every_pass_augments_anew_and_the_same_pass_the_same(read, tmp_path):
    params = run_params(tmp_path, [{"kind": "noise"}])
    heard = []
    for seed, epoch in ((17, 0), (17, 0), (17, 1), (18, 0)):
        clips = TrainingClips(read(params), seed)
        clips.set_epoch(epoch)
        heard.append(collator(params)(clips.__getitems__([3, 1, 7]))["input_values"])
    assert torch.equal(heard[0], heard[1])
    assert not torch.equal(heard[0], heard[2])
    assert not torch.equal(heard[0], heard[3])


def test_copies_of_a_clip_are_cut_and_augmented_each_by_itself(read, tmp_path):
    params = run_params(tmp_path, [{"kind": "shift"}]).model_copy(update={"audio": AudioParams(max_seconds=0.1)})
    clips = TrainingClips(read(params), 17)
    copies = [3 + copy * len(clips) for copy in range(3)]
    batch = clips.__getitems__(copies)
    assert batch.origin.rows == (3, 3, 3)
    assert len(set(batch.origin.seeds)) == 3
    assert batch.examples.targets.tolist() == [clips[3][1]] * 3
    cut = batch.examples.waveforms
    assert len({waveform.tobytes() for waveform in cut}) == 3
    whole = read(run_params(tmp_path)).waveform(3)
    assert all(any(np.array_equal(whole[i : i + 1_600], part) for i in range(len(whole))) for part in cut)
    np.testing.assert_array_equal(clips[copies[1]][0], cut[1])
    assert torch.equal(*(collator(params)(clips.__getitems__(copies))["input_values"] for _ in range(2)))


def test_what_is_left_to_the_device_comes_out_the_same(read, tmp_path):
    params = run_params(tmp_path, [{"kind": "speed"}, {"kind": "shift"}, {"kind": "cutmix"}])
    batch = TrainingClips(read(params), 17).__getitems__([3, 1, 7, 2])
    assert isinstance(batch, TrainingBatch)
    here = collator(params)(batch)
    inputs = collator(params, leave_to_device=True)(batch)
    origin = inputs.pop(ORIGIN)
    augmenter = build_augmenter(params, 3)
    assert isinstance(augmenter, Augmenter)
    there = augment_inputs(augmenter, inputs, origin.seeds)
    samples = here["input_values"].shape[1]
    assert torch.equal(there["labels"], here["labels"])
    assert torch.equal(there["input_values"][:, :samples], here["input_values"])
    assert torch.equal(there["attention_mask"][:, :samples], here["attention_mask"])
    assert not there["attention_mask"][:, samples:].any()


def test_spectrograms_that_are_left_to_the_device_are_of_augmented_clips(read, tmp_path):
    params = run_params(tmp_path, [{"kind": "speed"}, {"kind": "shift"}, {"kind": "cutmix"}], "whisper")
    batch = TrainingClips(read(params), 17).__getitems__([3, 1, 7, 2])
    plain = Collator(build_extractor(params.model, params.audio), params.audio, leave_to_device=True)
    augmenter = build_augmenter(params, 3)
    assert isinstance(augmenter, Augmenter)
    here = TrainingCollator(plain, augmenter, leave_to_device=False)(batch)
    inputs = TrainingCollator(plain, augmenter, leave_to_device=True)(batch)
    assert "input_features" not in inputs
    there = plain.finish(augment_inputs(augmenter, inputs, inputs.pop(ORIGIN).seeds))
    assert torch.equal(there["labels"], here["labels"])
    torch.testing.assert_close(there["input_features"], plain.finish(here)["input_features"], atol=1e-5, rtol=0)
    untouched = plain.finish(plain(batch.examples))
    assert not torch.allclose(there["input_features"], untouched["input_features"], atol=0.01)


def test_mixed_clips_have_the_loss_of_their_classes_each_by_its_weight(tmp_path):
    params = run_params(tmp_path, [{"kind": "mixup"}], label_smoothing=0.1)
    model = build_model(params.model, params.audio, LABELS)[0]
    weights = torch.tensor([3.0, 0.5, 0.5])
    trainer = ClassifierTrainer(
        model=model,
        args=training_arguments(params.training, 1, tmp_path),
        eval_dataset=[],
        params=params.training,
        loss=CrossEntropy(weights, params.training.label_smoothing),
    )
    inputs = 0.1 * torch.randn(2, 4_800)
    mixed = torch.tensor([[0.7, 0.3, 0.0], [0.0, 0.0, 1.0]])
    losses = []
    for targets in (mixed, torch.tensor([0, 2]), torch.tensor([1, 2])):
        model.train()
        torch.manual_seed(0)
        losses.append(trainer.compute_loss(model, {"input_values": inputs, "labels": targets}).item())
    assert losses[0] == pytest.approx(0.7 * losses[1] + 0.3 * losses[2], rel=1e-5)


def fit_tones(prepared, params: RunParams, folder: Path, features=None, balanced: Balanced | None = None):
    splits, plain, store = prepared
    return fit(PreparedData(splits, store, params, features), balanced or plain, folder, lambda metrics, step: None)


def weights_of(trained) -> dict[str, torch.Tensor]:
    return load_file(trained.folder / "model.safetensors")


def test_kept_features_are_not_trained_on_where_clips_are_augmented(prepared, tmp_path):
    params = run_params(tmp_path, LOUD, "audio-spectrogram-transformer")
    plan = plan_features(PreparedData(prepared[0], prepared[2], params))
    assert plan is not None
    table = pd.read_parquet(prepared[0])
    assert sum(shard.stop - shard.start for shard in plan.shards) == (table["split"] != "train").sum()
    for shard in plan.shards:
        write_features(shard, params.audio)
    kept = weights_of(fit_tones(prepared, params, tmp_path / "kept", plan.store))
    computed = weights_of(fit_tones(prepared, params, tmp_path / "computed"))
    plain = weights_of(fit_tones(prepared, run_params(tmp_path, [], params.model.family), tmp_path / "plain"))
    assert all(torch.equal(kept[name], computed[name]) for name in kept)
    assert not all(torch.equal(kept[name], plain[name]) for name in kept)


def test_a_loss_that_is_no_number_stops_with_step_clips_and_what_to_try(prepared, tmp_path):
    splits, balanced, store = prepared
    table = pd.read_parquet(splits)
    row = int(pd.read_parquet(balanced.rows)["row"].iloc[5])
    table.loc[row, "scale"] = np.nan  # every sample of this clip is none
    broken = tmp_path / "splits.parquet"
    table.to_parquet(broken)
    params = run_params(tmp_path, epochs=1, max_steps=None, max_grad_norm=0.0)
    with pytest.raises(TrainingError, match=r"the loss is nan at step \d+, in a batch of the clips") as raised:
        fit_tones((broken, balanced, store), params, tmp_path / "run")
    message = str(raised.value)
    assert table.loc[row, "clip_id"] in message
    assert sum(name in message for name in table["clip_id"]) == 4  # the batch's, and no others
    assert "training.learning_rate (it is 0.005)" in message
    assert "training.max_grad_norm=1.0 (it is 0; 0 does not clip)" in message
    assert "fp32" not in message  # it is fp32 already


def test_losses_of_a_gpu_are_looked_at_before_a_line_of_the_log_and_the_first_bad_one_is_named(tmp_path):
    arguments = training_arguments(run_params(tmp_path, precision="bf16").training, 1, tmp_path)
    watch = LossWatch(["a", "b", "c", "d"], arguments, at_once=False)
    for step, (loss, rows) in enumerate([(0.5, (0,)), (float("inf"), (1, 2)), (float("nan"), (3,))], start=4):
        watch.note(torch.tensor(loss), step, rows)
        watch.on_step_end(None, None, TrainerControl())
    with pytest.raises(
        TrainingError, match=r"the loss is inf at step 5, in a batch of the clips b, c\. .* \(it is bf16\)"
    ):
        watch.on_step_end(None, None, TrainerControl(should_log=True))


def test_a_nan_in_a_gradient_stops_before_clipping_spreads_it_to_all_weights(prepared, tmp_path, monkeypatch):
    calls: list[int] = []

    def spoil_second(gradient: torch.Tensor) -> torch.Tensor:
        calls.append(len(gradient))
        return gradient.index_fill(0, torch.tensor([0]), torch.nan) if len(calls) == 2 else gradient

    def prepare_and_spoil(model, params):
        prepare_model(model, params)
        model.classifier.bias.register_hook(spoil_second)

    monkeypatch.setattr("audiocls.training.fitting.prepare_model", prepare_and_spoil)
    params = run_params(tmp_path, epochs=1, max_steps=None, max_grad_norm=1.0)
    with pytest.raises(TrainingError) as raised:
        fit_tones(prepared, params, tmp_path / "run")
    message = str(raised.value)
    assert "the gradient is not, at step 2, in classifier.bias (1 of 3 values), in a batch of the clips" in message
    assert sum(name in message for name in pd.read_parquet(prepared[0])["clip_id"]) == 4


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_norms_of_a_gpu_are_looked_at_later_and_float16_leaves_steps_out_by_itself(precision, tmp_path):
    arguments = training_arguments(run_params(tmp_path).training, 1, tmp_path)
    arguments.fp16 = precision == "fp16"
    watch = LossWatch(["a", "b", "c"], arguments, at_once=False)
    for step, norm in enumerate([1.0, float("nan"), float("nan")], start=1):
        watch.note(torch.tensor(0.5), step, (step - 1,))
        watch.note_norm(torch.tensor(norm), step)
    if precision == "fp16":
        watch.check()
        return
    with pytest.raises(TrainingError, match="the gradient's norm is nan at step 2, in a batch of the clips b"):
        watch.check()


def padding_share(lengths: np.ndarray, order: list[int], batch_size: int) -> float:
    batches = [lengths[order[i : i + batch_size]] for i in range(0, len(order), batch_size)]
    padded = sum(batch.max() * len(batch) for batch in batches)
    return 1 - lengths.sum() / padded


def test_batches_of_like_length_waste_less_and_hold_every_clip_once(read, tmp_path):
    clips = TrainingClips(read(run_params(tmp_path)), 17)
    lengths = np.random.default_rng(1).integers(500, 16_000, 403)
    groups = LengthGroups(lengths.tolist(), clips, 8, 17)
    first, again = list(groups), list(groups)
    clips.set_epoch(1)
    second = list(groups)
    assert first == again != second
    assert sorted(first) == sorted(second) == list(range(403))
    shuffled = np.random.default_rng(2).permutation(403).tolist()
    assert padding_share(lengths, shuffled, 8) > 0.35
    assert padding_share(lengths, first, 8) < 0.1


def test_training_in_groups_of_like_length_sees_those_batches_and_is_resumed_to_the_same_weights(prepared, tmp_path):
    params = run_params(tmp_path, group_by_length=True, epochs=2, max_steps=None)
    undisturbed = weights_of(fit_tones(prepared, params, tmp_path / "undisturbed"))
    shuffled = weights_of(fit_tones(prepared, run_params(tmp_path, epochs=2, max_steps=None), tmp_path / "shuffled"))
    splits, balanced, store = prepared

    def interrupt(metrics, step):
        if step == 10 and "train/loss" in metrics:  # in the second pass
            os.kill(os.getpid(), signal.SIGINT)

    with contextlib.suppress(KeyboardInterrupt):
        fit(PreparedData(splits, store, params), balanced, tmp_path / "resumed", interrupt)
        pytest.fail("training was not interrupted")
    resumed = weights_of(fit_tones(prepared, params, tmp_path / "resumed"))
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in undisturbed.items())
    assert not all(torch.equal(tensor, shuffled[name]) for name, tensor in undisturbed.items())
