from __future__ import annotations

import copy
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from recorded_bars import RecordedBars
from tiny_configs import TINY_CONFIGS
from variants import some

from audiocls.balance.selection import Balanced, balance
from audiocls.errors import FullDiskError
from audiocls.evaluation.scoring import evaluate
from audiocls.models.families import build_model, load_model
from audiocls.params.run import RunParams
from audiocls.progress import shown_on
from audiocls.sources.manifest import list_clips
from audiocls.splits.assignment import assign_splits
from audiocls.splits.prepared_data import PreparedData
from audiocls.training.arguments import training_arguments
from audiocls.training.losses import CrossEntropy, TrainingLoss
from audiocls.training.run import fit
from audiocls.training.trainer import ClassifierTrainer
from audiocls.waveforms.corpus import collect_corpus
from audiocls.waveforms.mapped import MappedWaveforms
from audiocls.waveforms.shards import write_shard
from audiocls.waveforms.store import plan_store


def run_params(workspace: Path, tones: Path, training: dict, family: str = "logmel-resnet", **model) -> RunParams:
    return RunParams.model_validate(
        {
            "workspace": str(workspace),
            "data": {"source": "folder", "path": str(tones), "group_by": "file"},
            "audio": {"max_seconds": 0.3},
            "model": {"family": family, "config": TINY_CONFIGS[family], **model},
            "training": {"batch_size": 4, "learning_rate": 5.0e-3, **training},
        }
    )


@pytest.fixture(scope="module")
def prepared(tones, tmp_path_factory):
    """(split clips, balanced, store) of the tones."""
    workspace = tmp_path_factory.mktemp("prepared")
    params = run_params(workspace, tones, {})
    manifest = list_clips(params.data, workspace)
    plan = plan_store(manifest, params.audio, workspace)
    for shard in plan.shards:
        write_shard(shard, params.audio)
    corpus = collect_corpus(manifest, plan, workspace)
    splits = assign_splits(corpus.clips, params.split, params.seed, workspace)
    return splits, balance(splits, params.balance, params.seed, workspace), corpus.store


def train(prepared, params: RunParams, folder: Path, balanced: Balanced | None = None):
    """Fit, and return (TrainedModel, [(metrics, step)])."""
    splits, plain, store = prepared
    log: list[tuple[dict[str, float], int]] = []
    data = PreparedData(splits, store, params)
    model = fit(data, balanced or plain, folder, lambda metrics, step: log.append((metrics, step)))
    return model, log


# One for each kind of input, and one with batch norms; the others differ from wav2vec2 in their layers, and those the
# contract suite of the families looks at.
@pytest.mark.parametrize(
    "family",
    ["logmel-resnet", "wav2vec2", "wav2vec2-conformer", "wav2vec2-bert", "audio-spectrogram-transformer", "whisper"],
)
def test_every_kind_of_family_trains_and_is_evaluated_end_to_end(family, prepared, tones, tmp_path):
    params = run_params(tmp_path, tones, {"max_steps": 3}, family)
    model, log = train(prepared, params, tmp_path)
    bars = RecordedBars()
    with shown_on(bars):
        report = evaluate(model.folder, PreparedData(prepared[0], prepared[2], params), tmp_path / "evaluation")
    held_out = (pd.read_parquet(prepared[0])["split"] != "train").sum()
    scored, corrupted = bars.bars
    assert (scored.unit, scored.done) == ("windows", scored.total)
    assert scored.total >= held_out
    assert (corrupted.unit, corrupted.done) == ("corrupted windows", corrupted.total)
    assert 0 <= report.metrics["test/f1_macro"] <= 1
    assert model.steps == 3
    assert load_model(model.folder)[0].config.model_type == family
    assert any("validation/f1_macro" in metrics for metrics, _ in log)


@pytest.mark.parametrize(
    ("optimizer", "schedule"),
    some(
        [
            ("adamw", "linear"), ("adamw", "cosine"), ("adamw", "constant"), ("adafactor", "linear"),
            ("sgd", "cosine"), ("rmsprop", "constant"), ("adagrad", "linear"),
        ],
        quick=[("adamw", "linear"), ("adafactor", "linear"), ("sgd", "cosine"), ("rmsprop", "constant")],
    ),
)  # fmt: skip
def test_every_optimizer_and_every_schedule_train(optimizer, schedule, prepared, tones, tmp_path):
    training = {"optimizer": optimizer, "schedule": schedule, "max_steps": 20, "warmup_fraction": 0.5}
    _, log = train(prepared, run_params(tmp_path, tones, training), tmp_path)
    rates = {step: metrics["train/learning_rate"] for metrics, step in log if "train/learning_rate" in metrics}
    assert rates[10] == pytest.approx(5.0e-3, rel=0.11)  # the top of the warm-up
    assert rates[20] == pytest.approx(5.0e-3) if schedule == "constant" else rates[20] < 1.5e-3
    assert all(np.isfinite(metrics["train/loss"]) for metrics, _ in log if "train/loss" in metrics)


def test_cosine_with_restarts_comes_back_to_the_top(prepared, tones, tmp_path):
    training = {"schedule": "cosine_with_restarts", "restarts": 1, "max_steps": 40, "warmup_fraction": 0.0}
    _, log = train(prepared, run_params(tmp_path, tones, training), tmp_path)
    rates = {step: metrics["train/learning_rate"] for metrics, step in log if "train/learning_rate" in metrics}
    assert rates[20] < 0.1 * 5.0e-3
    assert rates[30] == pytest.approx(2.5e-3, rel=0.2)
    assert rates[40] < 0.1 * 5.0e-3


@pytest.mark.parametrize("best_metric", ["f1_weighted", "precision_macro"])
def test_the_best_checkpoint_is_by_the_metric_asked_for(best_metric, prepared, tones, tmp_path):
    params = run_params(tmp_path, tones, {"epochs": 4, "learning_rate": 0.03, "best_metric": best_metric})
    model, log = train(prepared, params, tmp_path)
    name = f"validation/{best_metric}"
    scores = {step: metrics[name] for metrics, step in log if name in metrics}
    assert scores[model.best_step] == max(scores.values())


def _trainer(params: RunParams, model, folder: Path, loss: TrainingLoss) -> ClassifierTrainer:
    return ClassifierTrainer(
        model=model,
        args=training_arguments(params.training, params.seed, folder / "checkpoints"),
        eval_dataset=[],
        params=params.training,
        loss=loss,
    )


@pytest.mark.parametrize("family", ["wav2vec2", "audio-spectrogram-transformer"])
def test_accumulated_gradients_are_those_of_the_whole_batch(family, prepared, tones, tmp_path):
    """transformers 5.23 multiplies them for wav2vec2 with its own loss, and halves AST's when told to divide."""
    norms = {}
    for accumulation in (1, 2, 4):
        config = TINY_CONFIGS[family] | {"hidden_dropout": 0.0, "attention_dropout": 0.0}
        if family == "wav2vec2":
            config |= {
                "activation_dropout": 0.0,
                "feat_proj_dropout": 0.0,
                "final_dropout": 0.0,
                "layerdrop": 0.0,
                "mask_time_prob": 0.0,
            }
        else:
            config = TINY_CONFIGS[family]
        training = {
            "max_steps": 1, "batch_size": 8 // accumulation, "gradient_accumulation_steps": accumulation,
            "max_grad_norm": 0.0,
        }  # fmt: skip
        params = run_params(tmp_path, tones, training, family, config=config)
        weights = {"high": 2.0, "low": 0.5, "middle": 1.0}
        balanced = Balanced(prepared[1].rows, weights, prepared[1].counts_before, prepared[1].counts_after)
        norms[accumulation] = _first_gradient_norm(prepared, params, tmp_path / str(accumulation), balanced)
    assert norms[2] == pytest.approx(norms[1], rel=1e-3)
    assert norms[4] == pytest.approx(norms[1], rel=1e-3)


def test_all_clips_of_a_step_count_alike_where_its_last_batch_is_short(prepared, tones, tmp_path):
    clips = len(pd.read_parquet(prepared[1].rows))
    weights = {"high": 2.0, "low": 0.5, "middle": 1.0}
    balanced = Balanced(prepared[1].rows, weights, prepared[1].counts_before, prepared[1].counts_after)
    norms, losses = {}, {}
    for batch_size, accumulation in ((clips, 1), (clips - 1, 2)):
        training = {
            "epochs": 1, "batch_size": batch_size, "gradient_accumulation_steps": accumulation, "max_grad_norm": 0.0,
        }  # fmt: skip
        params = run_params(tmp_path, tones, training, "audio-spectrogram-transformer")
        log: list[dict[str, float]] = []
        norms[accumulation] = _first_gradient_norm(prepared, params, tmp_path / str(accumulation), balanced, log)
        losses[accumulation] = next(metrics["train/loss"] for metrics in log if "train/loss" in metrics)
    assert norms[2] == pytest.approx(norms[1], rel=1e-3)
    assert losses[2] == pytest.approx(losses[1], rel=1e-3)


def _first_gradient_norm(prepared, params: RunParams, folder: Path, balanced: Balanced, log: list | None = None):
    """The norm as the optimizer sees it, whatever Trainer says it is; metrics are added to a log."""
    seen: list[float] = []
    step = torch.optim.AdamW.step

    def recording(self, *args, **kwargs):
        grads = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
        seen.append(float(torch.linalg.vector_norm(torch.stack([g.norm() for g in grads]))))
        return step(self, *args, **kwargs)

    torch.optim.AdamW.step = recording
    try:
        _, measured = train(prepared, params, folder, balanced)
    finally:
        torch.optim.AdamW.step = step
    if log is not None:
        log.extend(metrics for metrics, _ in measured)
    return seen[0]


def test_class_weights_and_smoothing_count_in_training_and_not_in_evaluation(tones, tmp_path):
    params = run_params(tmp_path, tones, {"label_smoothing": 0.1})
    model = build_model(params.model, params.audio, ["a", "b", "c"])[0]
    weights = torch.tensor([3.0, 0.5, 0.5])
    trainer = _trainer(params, model, tmp_path, CrossEntropy(weights, 0.1))
    inputs = torch.randn(3, 4_800) * 0.1
    targets = torch.tensor([0, 1, 2])
    model.train()
    torch.manual_seed(0)
    loss = trainer.compute_loss(model, {"input_values": inputs, "labels": targets})
    torch.manual_seed(0)
    logits = model(inputs).logits
    smoothed = torch.nn.functional.cross_entropy(logits, targets, label_smoothing=0.1, reduction="none")
    expected = (weights[targets] * smoothed).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    model.eval()
    loss = trainer.compute_loss(model, {"input_values": inputs, "labels": targets})
    assert loss.item() == pytest.approx(
        torch.nn.functional.cross_entropy(model(inputs).logits, targets).item(), rel=1e-5
    )


def test_early_stopping_ends_training_and_keeps_the_best_checkpoint(prepared, tones, tmp_path):
    # A rate this high never learns, so that the score does not rise for long.
    training = {"epochs": 40, "learning_rate": 10.0, "optimizer": "sgd", "early_stopping_patience": 2}
    model, log = train(prepared, run_params(tmp_path, tones, training), tmp_path)
    scores = {step: metrics["validation/f1_macro"] for metrics, step in log if "validation/f1_macro" in metrics}
    assert model.epochs < 40
    assert scores[model.best_step] == max(scores.values())


@pytest.mark.parametrize("family", ["logmel-resnet", "wav2vec2", "audio-spectrogram-transformer"])
@pytest.mark.parametrize("load", ["best", "resumed"])
def test_a_checkpoint_comes_back_whole(load, family, tones, tmp_path):
    """Trainer's own way loses what transformers writes by other names than the model's."""
    params = run_params(tmp_path, tones, {}, family)
    model = build_model(params.model, params.audio, ["a", "b", "c"])[0]
    trainer = _trainer(params, model, tmp_path, CrossEntropy())
    trainer.save_model(str(tmp_path / "checkpoint-1"))
    saved = copy.deepcopy(model.state_dict())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    if load == "best":
        trainer.state.best_model_checkpoint = str(tmp_path / "checkpoint-1")
        trainer._load_best_model()
    else:
        trainer._load_from_checkpoint(str(tmp_path / "checkpoint-1"))
    assert [name for name, tensor in model.state_dict().items() if not torch.equal(tensor, saved[name])] == []


@pytest.mark.parametrize("ema_decay", [None, 0.8])
def test_the_saved_weights_are_those_of_the_best_step(ema_decay, prepared, tones, tmp_path):
    params = run_params(tmp_path, tones, {"epochs": 6, "learning_rate": 0.03, "ema_decay": ema_decay})
    model, log = train(prepared, params, tmp_path)
    scores = {step: metrics["validation/f1_macro"] for metrics, step in log if "validation/f1_macro" in metrics}
    report = evaluate(model.folder, PreparedData(prepared[0], prepared[2], params), tmp_path / "evaluation")
    losses = {step: metrics["validation/loss"] for metrics, step in log if "validation/loss" in metrics}
    assert report.metrics["validation/f1_macro"] == pytest.approx(scores[model.best_step])
    assert report.metrics["validation/loss"] == pytest.approx(losses[model.best_step], rel=1e-3)


def test_weights_are_averaged_where_the_forward_pass_makes_buffers_anew(prepared, tones, tmp_path):
    """The Conformer's table of positions takes the length and the precision of what comes in."""
    training = {"max_steps": 2, "ema_decay": 0.5, "precision": "bf16"}
    params = run_params(tmp_path, tones, training, "wav2vec2-conformer")
    model, log = train(prepared, params, tmp_path)
    assert model.precision == "bf16"
    assert np.isfinite([metrics["validation/loss"] for metrics, _ in log if "validation/loss" in metrics]).all()


def test_a_frozen_encoder_comes_out_as_it_went_in(prepared, tones, tmp_path):
    params = run_params(tmp_path, tones, {"max_steps": 5}, freeze="encoder")
    torch.manual_seed(params.seed)
    before = build_model(params.model, params.audio, ["high", "low", "middle"])[0]
    model, _ = train(prepared, params, tmp_path)
    after, _ = load_model(model.folder)
    for name, value in before.encoder.state_dict().items():
        # Statistics of batch norms are no parameters, and would drift unless the encoder stays in evaluation mode.
        assert torch.equal(value, after.encoder.state_dict()[name]), name
    assert not torch.equal(before.classifier.weight, after.classifier.weight)
    assert 0 < model.num_trainable < model.num_parameters


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        ({"freeze_layers": 1}, r"wav2vec2_conformer\.(feature_|encoder\.pos_conv_embed|encoder\.layers\.0)"),
        ({"lora": {"rank": 2}}, r"wav2vec2_conformer\.(?!.*linear_[qv])"),
    ],
)
def test_what_is_not_trained_comes_out_as_it_went_in_batch_norms_too(fields, kept, prepared, tones, tmp_path):
    pytest.importorskip("peft", reason="the extra lora is not installed")
    training = {"max_steps": 5, "gradient_checkpointing": True, "ema_decay": 0.5}
    params = run_params(tmp_path, tones, training, "wav2vec2-conformer", **fields)
    torch.manual_seed(params.seed)
    untouched = params.model.model_copy(update={"lora": None, "freeze_layers": None})
    before = build_model(untouched, params.audio, ["high", "low", "middle"])[0].state_dict()
    model, _ = train(prepared, params, tmp_path)
    after = load_model(model.folder)[0].state_dict()
    assert before.keys() == after.keys()
    same = {name for name in before if torch.equal(before[name], after[name])}
    expected = {name for name in before if re.match(kept, name)}
    assert any("running_mean" in name for name in expected)
    assert expected <= same
    assert any("layers.1" in name or "linear_q" in name for name in before.keys() - same)
    assert 0 < model.num_trainable < model.num_parameters


def test_dropout_comes_through_the_config(tones, tmp_path):
    params = run_params(tmp_path, tones, {}, config={"channels": [4, 8], "dropout": 0.7})
    assert build_model(params.model, params.audio, ["a", "b"])[0].dropout.p == 0.7


def test_predictions_do_not_depend_on_the_batch_size(prepared, tones, tmp_path):
    params = run_params(tmp_path, tones, {"max_steps": 3})
    model, _ = train(prepared, params, tmp_path)
    tables = []
    for batch_size in (1, 7):
        sized = params.model_copy(
            update={"training": params.training.model_copy(update={"eval_batch_size": batch_size})}
        )
        folder = evaluate(
            model.folder, PreparedData(prepared[0], prepared[2], sized), tmp_path / str(batch_size)
        ).folder
        tables.append(pd.read_parquet(folder / "predictions.parquet"))
    pd.testing.assert_frame_equal(tables[0], tables[1], atol=1e-4)


def test_a_full_disk_in_training_is_said_with_its_folder(prepared, tones, tmp_path, full_disk):
    params = run_params(tmp_path, tones, {"max_steps": 2})
    MappedWaveforms(pd.read_parquet(prepared[0]), prepared[2])  # unpacks the store, which is not what is full here
    with full_disk(4_000), pytest.raises(FullDiskError, match=f"{tmp_path}.*a checkpoint was written"):
        train(prepared, params, tmp_path)
