"""Fitting: transformers' Trainer around any audio classification model."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

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

from audiocls.balance import Balanced, EpochSampler, check_training_only
from audiocls.batches import (
    CLIP,
    ClipDataset,
    Collator,
    PassCounter,
    TrainingClips,
    TrainingCollator,
    build_augmenter,
    cut_into_windows,
    normalise_by_training,
)
from audiocls.features import map_features
from audiocls.files import told_when_full
from audiocls.metrics import ValidationScores
from audiocls.models import (
    ADAPTERS,
    build_model,
    check_layer,
    head_layers,
    merge_lora,
    no_progress_bars,
    save_model,
    settings_of,
    write_settings,
)
from audiocls.params import EmbeddingBalance, HeadOnly, Resampled, RunParams, TrainingParams
from audiocls.training.arguments import choose_device, prepare_model, training_arguments
from audiocls.training.loss_watch import LossWatch
from audiocls.training.losses import build_loss
from audiocls.training.machines import num_processes
from audiocls.training.resumption import SaveByTheClock, SaveOnInterrupt
from audiocls.training.trained_model import TrainedModel
from audiocls.training.trainer import ClassifierTrainer, MetricLog, MetricReporter
from audiocls.waveforms import MappedWaveforms

logger = logging.getLogger(__name__)


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
            write_settings(settings_of(params, labels, extractor), folder / "model")
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
    labels = [model.config.id2label[i] for i in range(model.config.num_labels)]
    write_settings(settings_of(params, labels, extractor), folder)
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
