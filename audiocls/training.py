"""Fitting: transformers' Trainer around any audio classification model."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from transformers import (
    EarlyStoppingCallback,
    PreTrainedModel,
    PrinterCallback,
    TrainerCallback,
    TrainingArguments,
)

from audiocls.atomic import told_when_full
from audiocls.balance import Balanced
from audiocls.balance.draws import EpochSampler
from audiocls.balance.selection import check_training_only
from audiocls.balance_params import EmbeddingBalance, HeadOnly, Resampled
from audiocls.batches import ClipDataset, Collator
from audiocls.clip_scores import ValidationScores
from audiocls.features import map_features
from audiocls.loading import choose_loading
from audiocls.loss_watch import LossWatch
from audiocls.losses import build_loss
from audiocls.machines import machines, num_processes
from audiocls.mapped import MappedWaveforms
from audiocls.models.adapters import ADAPTERS
from audiocls.models.convolutions import has_faulty_bfloat16, use_float32, use_matrix_products
from audiocls.models.dropout import use_quick_dropout
from audiocls.models.embeddings import head_layers
from audiocls.models.encoder_layers import check_layer
from audiocls.models.families import build_model, no_progress_bars, save_model
from audiocls.models.lora import merge_lora
from audiocls.normalisation import normalise_by_training
from audiocls.optimizers import TRAINER_NAMES
from audiocls.params import RunParams
from audiocls.resumption import SaveByTheClock, SaveOnInterrupt, last_checkpoint
from audiocls.trainer import ClassifierTrainer, MetricLog, MetricReporter
from audiocls.training_batches import PassCounter, TrainingClips, TrainingCollator, build_augmenter
from audiocls.training_params import TrainingParams
from audiocls.windows import CLIP, cut_into_windows

logger = logging.getLogger(__name__)

LOG_EVERY_STEPS: Final = 10
_SCHEDULES: Final = {
    "linear": "linear",
    "cosine": "cosine",
    "cosine_with_restarts": "cosine_with_restarts",
    "constant": "constant_with_warmup",
}


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A folder that `from_pretrained` loads, and how it came about."""

    folder: Path
    num_parameters: int
    num_trainable: int
    steps: int
    epochs: float
    best_step: int
    device: str
    precision: str


def fit(
    split_clips: Path,
    balanced: Balanced,
    store: Path,
    params: RunParams,
    folder: Path,
    log: MetricLog,
    features: Path | None = None,
) -> TrainedModel:
    """Train on the training split, keep the weights that did best on validation, and save them.

    Where `folder` holds checkpoints of the same training, cut short, it goes on from the last one.

    Args:
        split_clips: The clips table with its splits.
        balanced: Which of its rows to train on, and the weights of the classes in the loss.
        store: The waveform store.
        params: The whole run's.
        folder: Gets `model/`, with the model and its feature extractor, and `checkpoints/`.
        log: Receives `train/...` and `validation/...` metrics.
        features: The feature store, where there is one; the training is the same without it, and slower.
    """
    inputs: dict[str, Path | str] = {"clips": split_clips, "rows": balanced.rows, "params": params.model_dump_json()}
    checkpoint = last_checkpoint(folder / "checkpoints", inputs)
    if checkpoint:
        logger.info("Going on from %s.", checkpoint.name)
    job: dict[str, Any] = {
        "split_clips": split_clips, "balanced": balanced, "store": store, "params": params, "folder": folder,
        "features": features, "checkpoint": checkpoint,
    }  # fmt: skip
    alone = params.training.processes == 1 and machines().count == 1
    if alone or isinstance(params.balance, EmbeddingBalance):
        return fit_here(log=log, **job)
    from audiocls.distributed import fit_in_processes  # it imports this module

    return fit_in_processes(log, **job)


def fit_here(
    *,
    split_clips: Path,
    balanced: Balanced,
    store: Path,
    params: RunParams,
    folder: Path,
    log: MetricLog,
    features: Path | None,
    checkpoint: Path | None,
    callbacks: Sequence[TrainerCallback] = (),
    interrupt: SaveOnInterrupt | None = None,
) -> TrainedModel:
    """Do what `fit` says in this process, from a checkpoint if there is one; one of several where torchrun began it."""
    # Before the model is built: its first weights are drawn from the run's seed.
    torch.manual_seed(params.seed)
    table = pd.read_parquet(split_clips)
    labels = class_names(table)
    model, extractor = build_model(params.model, params.audio, labels)
    _check_layer(model, params)
    prepare_model(model, params.training)
    if isinstance(params.balance, EmbeddingBalance):
        return _keep_encoder(model, extractor, params, folder / "model")
    statistics = normalise_by_training(extractor, table, store, params)
    listed = pd.read_parquet(balanced.rows)
    rows = listed["row"].to_numpy()
    check_training_only(table, rows, listed["clip_id"].to_numpy(object))

    def dataset(clips: pd.DataFrame, *, training: bool) -> ClipDataset:
        usable = None if training and params.augmentation else features
        kept = None if usable is None else map_features(usable, clips, extractor, params.audio)
        waveforms = MappedWaveforms(clips, store)
        return ClipDataset(clips, waveforms, labels, params.audio, training=training, features=kept, seed=params.seed)

    # By windows, as the final evaluation: the checkpoint is chosen by what is reported of it.
    windows = cut_into_windows(table[table["split"] == "validation"], params.audio)
    clip = windows[CLIP].to_numpy(np.int64)
    validation = dataset(windows, training=False)
    arguments = training_arguments(params.training, params.seed, folder / "checkpoints")
    training_clips = TrainingClips(dataset(table.iloc[rows], training=True), params.seed)
    augmenter = build_augmenter(params, len(labels))
    collator = _collator(model, extractor, params, arguments)
    on_device = collator.keeps_waveforms and arguments.device.type != "cpu"
    trainer = ClassifierTrainer(
        model=model,
        args=arguments,
        data_collator=TrainingCollator(collator, augmenter, leave_to_device=on_device),
        train_dataset=training_clips,
        eval_dataset=validation,
        compute_metrics=ValidationScores(clip, validation.targets[np.unique(clip, return_index=True)[1]]),
        preprocess_logits_for_metrics=lambda logits, labels: logits[0] if isinstance(logits, tuple) else logits,
        callbacks=[*_callbacks(params.training, log), PassCounter(training_clips), *callbacks],
        params=params.training,
        loss=build_loss(
            params.balance, balanced.counts_before, balanced.class_weights, labels, params.training.label_smoothing
        ),
        sampler=_sampler(table["label"].to_numpy()[rows], params),
        watch=LossWatch(table["clip_id"].iloc[rows].tolist(), arguments),
        augmenter=augmenter if on_device else None,
        finish=collator.finish,
        group_by_length=params.training.group_by_length,
    )
    if statistics and trainer.is_world_process_zero():
        log(statistics, 0)
    _train(trainer, checkpoint, interrupt or SaveOnInterrupt())
    trained = _describe(trainer, model, folder / "model")
    if params.model.lora is not None:
        merge_lora(model)
    if trainer.is_world_process_zero():
        with told_when_full(folder, "the model was saved"):
            save_model(model, extractor, folder / "model")
    return trained


def _check_layer(model: PreTrainedModel, params: RunParams) -> None:
    if isinstance(params.balance, HeadOnly):
        check_layer(model, params.balance.layer)


def _collator(model: PreTrainedModel, extractor: Any, params: RunParams, arguments: TrainingArguments) -> Collator:
    grouped = params.training.group_by_length
    least_length = ADAPTERS[params.model.family].least_length(model.config) if grouped else None
    return Collator(extractor, params.audio, least_length, leave_to_device=arguments.device.type != "cpu")


def _train(trainer: ClassifierTrainer, checkpoint: Path | None, interrupt: SaveOnInterrupt) -> None:
    """Train from the beginning, or on from a checkpoint."""
    trainer.remove_callback(PrinterCallback)
    # Last, so that what other callbacks add to a checkpoint is in it before training ends.
    trainer.add_callback(interrupt)
    writing = told_when_full(Path(trainer.args.output_dir), "a checkpoint was written")
    with no_progress_bars(), interrupt.listening(), writing:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)


def _keep_encoder(model: PreTrainedModel, extractor: Any, params: RunParams, folder: Path) -> TrainedModel:
    """Save the model as it is: its encoder stays, and `balance_head` gives it a head trained on embeddings."""
    if params.model.lora is not None:
        merge_lora(model)  # it has learnt nothing, and adds nothing
    save_model(model, extractor, folder)
    return TrainedModel(
        folder=folder,
        num_parameters=sum(p.numel() for p in model.parameters()),
        num_trainable=sum(p.numel() for layer in head_layers(model) for p in layer.parameters()),
        steps=0,
        epochs=0.0,
        best_step=0,
        device=choose_device(params.training),
        precision="fp32",
    )


def class_names(table: pd.DataFrame) -> list[str]:
    """Return the classes in sorted order; the position of a name is its class index."""
    return sorted(table["label"].unique())


def training_arguments(params: TrainingParams, seed: int, folder: Path) -> TrainingArguments:
    """Translate our params into Trainer's."""
    precision = choose_precision(params)
    return TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=params.epochs,
        max_steps=params.max_steps or -1,
        optim=TRAINER_NAMES[params.optimizer],
        learning_rate=params.learning_rate,
        lr_scheduler_type=_SCHEDULES[params.schedule],
        lr_scheduler_kwargs=_schedule_options(params),
        warmup_steps=params.warmup_fraction,
        per_device_train_batch_size=params.batch_size,
        per_device_eval_batch_size=params.eval_batch_size,
        gradient_accumulation_steps=params.gradient_accumulation_steps,
        activation_checkpointing=params.gradient_checkpointing,
        # The reentrant kind gives no gradients where what comes into a layer needs none, as behind a frozen front end.
        activation_checkpointing_kwargs={"use_reentrant": False},
        # Under checkpointing Trainer looks for none, as the reentrant kind bears it not; where a layer is then left out
        # at random, several processes end with "Expected to have finished reduction".
        ddp_find_unused_parameters=True,
        max_grad_norm=params.max_grad_norm,
        weight_decay=params.weight_decay,
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=1,
        load_best_model_at_end=True,
        # The count of epochs without a better score is one of them.
        restore_callback_states_from_checkpoint=True,
        metric_for_best_model=f"eval_{params.best_metric}",
        greater_is_better=params.best_metric != "loss",
        seed=seed,
        bf16=precision == "bf16",
        fp16=precision == "fp16",
        tf32=params.tf32 or None,
        torch_compile=params.compile,
        use_cpu=choose_device(params) == "cpu",
        ddp_backend="gloo" if num_processes() > 1 and choose_device(params) == "cpu" else None,
        **choose_loading(choose_device(params)).trainer_options(),
        # Batches hold what the family's forward takes and nothing else; pruning would drop waveforms by their names.
        remove_unused_columns=False,
        label_names=["labels"],
        # Else the logits of all windows are kept, on the device, until the last one is there.
        batch_eval_metrics=True,
        logging_steps=LOG_EVERY_STEPS,
        logging_first_step=True,
        # With the filter a NaN loss is logged as the last good one.
        logging_nan_inf_filter=False,
        report_to="none",
        disable_tqdm=True,
        log_level="error",
    )


def _schedule_options(params: TrainingParams) -> dict[str, Any]:
    return {"num_cycles": (params.restarts or 1) + 1} if params.schedule == "cosine_with_restarts" else {}


def prepare_model(model: PreTrainedModel, params: TrainingParams) -> None:
    """Compute the model in the form that is quickest on its device; the weights stay what they are."""
    if choose_device(params) == "cpu" and not params.compile:  # which makes its own kernels, and cannot look into ours
        use_matrix_products(model)
        use_quick_dropout(model)
    if choose_device(params) == "cpu" and choose_precision(params) == "bf16" and has_faulty_bfloat16():
        use_float32(model)


def choose_device(params: TrainingParams) -> str:
    """Return "cuda" or "cpu"."""
    if params.device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return params.device


def choose_precision(params: TrainingParams) -> str:
    """Return "bf16" or "fp32"; `auto` takes bf16 where the GPU has it in hardware."""
    if params.precision != "auto":
        return params.precision
    return (
        "bf16"
        if choose_device(params) == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        else "fp32"
    )


def _callbacks(params: TrainingParams, log: MetricLog) -> list[TrainerCallback]:
    stopping = [EarlyStoppingCallback(params.early_stopping_patience)] if params.early_stopping_patience else []
    saving = [SaveByTheClock(params.checkpoint_minutes)] if params.checkpoint_minutes else []
    return [MetricReporter(log), *stopping, *saving]


def _sampler(labels: NDArray[np.object_], params: RunParams) -> EpochSampler | None:
    """Return what draws the clips of each epoch, or None where each is seen once."""
    if not isinstance(params.balance, Resampled):
        return None
    training = params.training
    clips_per_step = training.batch_size * training.gradient_accumulation_steps * num_processes()
    max_clips = None if training.max_steps is None else training.max_steps * clips_per_step
    return EpochSampler(labels, params.balance, params.seed, epochs=training.epochs, max_clips=max_clips)


def _describe(trainer: ClassifierTrainer, model: PreTrainedModel, folder: Path) -> TrainedModel:
    state = trainer.state
    return TrainedModel(
        folder=folder,
        num_parameters=sum(p.numel() for p in model.parameters()),
        num_trainable=sum(p.numel() for p in model.parameters() if p.requires_grad),
        steps=state.global_step,
        epochs=float(state.epoch or 0.0),
        best_step=int(state.best_global_step or state.global_step),
        device=trainer.args.device.type,
        precision="bf16" if trainer.args.bf16 else "fp16" if trainer.args.fp16 else "fp32",
    )
