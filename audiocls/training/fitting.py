"""Fit any audio classification model with transformers' Trainer."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from transformers import (
    EarlyStoppingCallback,
    PreTrainedModel,
    PrinterCallback,
    TrainerCallback,
    TrainingArguments,
)

from audiocls.balance import Balanced, check_training_only
from audiocls.batches import (
    CLIP,
    CLIP_KEY,
    Collator,
    PassCounter,
    TrainingClips,
    TrainingCollator,
    build_augmenter,
    cut_into_windows,
    normalise_by_training,
)
from audiocls.features import open_clips
from audiocls.files import told_when_full
from audiocls.metrics import ValidationScores, fixed_pooling
from audiocls.models import (
    ADAPTERS,
    build_model,
    check_layer,
    head_layers,
    labels_of,
    merge_lora,
    no_progress_bars,
    save_model,
    settings_of,
    write_settings,
)
from audiocls.params import AudioParams, EmbeddingBalance, HeadOnly, RunParams, TrainingParams
from audiocls.sources import class_names, label_columns
from audiocls.splits import PreparedData, write_training_clips
from audiocls.training.arguments import choose_device, prepare_model, training_arguments
from audiocls.training.job import TrainingJob
from audiocls.training.loss_watch import LossWatch
from audiocls.training.losses import TrainingLoss, build_loss
from audiocls.training.multi_label_losses import build_label_loss
from audiocls.training.resumption import SaveByTheClock, SaveOnInterrupt
from audiocls.training.samplers import choose_sampler
from audiocls.training.step_progress import step_progress
from audiocls.training.trained_model import TrainedModel
from audiocls.training.trainer import ClassifierTrainer, MetricLog, MetricReporter

logger = logging.getLogger(__name__)


def fit_here(
    job: TrainingJob,
    log: MetricLog,
    *,
    callbacks: Sequence[TrainerCallback] = (),
    interrupt: SaveOnInterrupt | None = None,
) -> TrainedModel:
    """Train as `fit` does in this process, which may be one of several; resume from the checkpoint if given."""
    data, params = job.data, job.data.params
    # Before the model is built: its initial weights are drawn from the run's seed.
    torch.manual_seed(params.seed)
    table = pd.read_parquet(data.split_clips)
    labels = class_names(table)
    model, extractor = build_model(params.model, params.audio, labels, multi_label=params.is_multi_label)
    _check_layer(model, params)
    prepare_model(model, params.training)
    if isinstance(params.balance, EmbeddingBalance):
        return _keep_encoder(model, extractor, data, job.folder / "model")
    statistics = normalise_by_training(extractor, table, data.waveforms, params)
    trainer = _build_trainer(job, table, model, extractor, [*_callbacks(params.training, log), *callbacks])
    if statistics and trainer.is_world_process_zero():
        log(statistics, 0)
    _train(trainer, job.checkpoint, interrupt or SaveOnInterrupt())
    trained = _describe(trainer, model, job.folder / "model")
    if params.model.lora is not None:
        merge_lora(model)
    if trainer.is_world_process_zero():
        with told_when_full(job.folder, "the model was saved"):
            _save(model, extractor, data, job.folder / "model")
    return trained


def _build_trainer(
    job: TrainingJob,
    table: pd.DataFrame,
    model: PreTrainedModel,
    extractor: Any,
    callbacks: Sequence[TrainerCallback],
) -> ClassifierTrainer:
    """Build the Trainer with the balanced training clips and the windows of validation."""
    data, params, balanced = job.data, job.data.params, job.balanced
    listed = pd.read_parquet(balanced.rows)
    rows = listed["row"].to_numpy()
    check_training_only(table, rows, listed["clip_id"].to_numpy(object))
    labels = class_names(table)
    # In windows, as in the final evaluation: the checkpoint is chosen by the metric that is reported.
    windows = cut_into_windows(table[table["split"] == "validation"], params.audio)
    clip = windows[CLIP].to_numpy(np.int64)
    validation = open_clips(windows, labels, extractor, data)
    chunks = _chunks(table.iloc[rows], params.audio)
    served = table.iloc[rows] if chunks is None else chunks
    clip_of = None if chunks is None else chunks[CLIP].to_numpy(np.int64)
    training = TrainingClips(open_clips(served, labels, extractor, data, training=True), params.seed, clip_of)
    arguments = training_arguments(params.training, params.seed, job.folder / "checkpoints", params.best_metric)
    augmenter = build_augmenter(params, len(labels))
    collator = _collator(model, extractor, params, arguments)
    on_device = collator.keeps_waveforms and arguments.device.type != "cpu"
    return ClassifierTrainer(
        model=model,
        args=arguments,
        data_collator=TrainingCollator(collator, augmenter, leave_to_device=on_device),
        train_dataset=training,
        eval_dataset=validation,
        compute_metrics=ValidationScores(
            clip, validation.targets[np.unique(clip, return_index=True)[1]], fixed_pooling(params.evaluation)
        ),
        preprocess_logits_for_metrics=lambda logits, labels: logits[0] if isinstance(logits, tuple) else logits,
        callbacks=[*callbacks, PassCounter(training)],
        params=params.training,
        loss=_loss(params, balanced, len(rows), labels),
        sampler=choose_sampler(table.iloc[rows], params, clip_of),
        watch=LossWatch(table["clip_id"].iloc[rows].tolist(), arguments),
        augmenter=augmenter if on_device else None,
        finish=collator.finish,
        group_by_length=params.training.group_by_length,
    )


def _chunks(clips: pd.DataFrame, audio: AudioParams) -> pd.DataFrame | None:
    """Return the windows of training clips, or None if each clip is served as it is."""
    if audio.chunk is None:
        return None
    # Long files have many windows, and only these columns are read.
    columns = [*CLIP_KEY, *label_columns(clips), "split", "shard", "first_sample", "num_samples"]
    return cut_into_windows(clips[columns], audio)


def _check_layer(model: PreTrainedModel, params: RunParams) -> None:
    if isinstance(params.balance, HeadOnly):
        check_layer(model, params.balance.layer)


def _collator(model: PreTrainedModel, extractor: Any, params: RunParams, arguments: TrainingArguments) -> Collator:
    grouped = params.training.group_by_length
    least_length = ADAPTERS[params.model.family].least_length(model.config) if grouped else None
    return Collator(extractor, params.audio, least_length, leave_to_device=arguments.device.type != "cpu")


def _train(trainer: ClassifierTrainer, checkpoint: Path | None, interrupt: SaveOnInterrupt) -> None:
    """Train from the beginning, or resume from a checkpoint."""
    trainer.remove_callback(PrinterCallback)
    writing = told_when_full(Path(trainer.args.output_dir), "a checkpoint was written")
    with no_progress_bars(), interrupt.listening(), writing, step_progress(trainer.args) as steps:
        # `interrupt` is last: the other callbacks add to the checkpoint before training ends.
        for callback in (*steps, interrupt):
            trainer.add_callback(callback)
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)


def _save(model: PreTrainedModel, extractor: Any, data: PreparedData, folder: Path) -> None:
    """Save the model with what its use needs."""
    save_model(model, extractor, folder)
    write_settings(settings_of(data.params, labels_of(model), extractor, data.digest), folder)
    write_training_clips(data.split_clips, folder)


def _keep_encoder(model: PreTrainedModel, extractor: Any, data: PreparedData, folder: Path) -> TrainedModel:
    """Save the model without training: `balance_head` later trains its head on embeddings."""
    if data.params.model.lora is not None:
        merge_lora(model)  # untrained, so it adds nothing
    _save(model, extractor, data, folder)
    return TrainedModel(
        folder=folder,
        num_parameters=sum(p.numel() for p in model.parameters()),
        num_trainable=sum(p.numel() for layer in head_layers(model) for p in layer.parameters()),
        steps=0,
        epochs=0.0,
        best_step=0,
        device=choose_device(data.params.training),
        precision="fp32",
    )


def _callbacks(params: TrainingParams, log: MetricLog) -> list[TrainerCallback]:
    stopping = [EarlyStoppingCallback(params.early_stopping_patience)] if params.early_stopping_patience else []
    saving = [SaveByTheClock(params.checkpoint_minutes)] if params.checkpoint_minutes else []
    return [MetricReporter(log), *stopping, *saving]


def _loss(params: RunParams, balanced: Balanced, num_clips: int, labels: Sequence[str]) -> TrainingLoss:
    counts, weights, smoothing = balanced.counts_before, balanced.class_weights, params.training.label_smoothing
    if params.is_multi_label:
        return build_label_loss(params.balance, counts, num_clips, weights, labels, smoothing)
    return build_loss(params.balance, counts, weights, labels, smoothing)


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
