"""Fitting: transformers' Trainer around any audio classification model."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from transformers import (
    EarlyStoppingCallback,
    EvalPrediction,
    PreTrainedModel,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from audiocls.averaging import WeightAverage
from audiocls.balance import Balanced
from audiocls.batches import ClipDataset, Collator
from audiocls.features import map_features
from audiocls.mapped import MappedWaveforms
from audiocls.metrics import summary_metrics
from audiocls.models.families import build_model, no_progress_bars, save_model
from audiocls.models.freezing import frozen_modules, quieten
from audiocls.models.lora import merge_lora
from audiocls.optimizers import TRAINER_NAMES, choose_optimizer, parameter_groups
from audiocls.params import RunParams, TrainingParams
from audiocls.resumption import EpochTeller, SaveOnInterrupt, last_checkpoint
from audiocls.windows import CLIP, average_windows, cut_into_windows

logger = logging.getLogger(__name__)

MetricLog = Callable[[dict[str, float], int], None]
"""Takes metrics by name, and the optimizer step at which they were measured."""

LOG_EVERY_STEPS: Final = 10
_CLIP_LOSS: Final = "clip_loss"
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
    # Before the model is built: its first weights are drawn from the run's seed.
    torch.manual_seed(params.seed)
    table = pd.read_parquet(split_clips)
    labels = class_names(table)
    model, extractor = build_model(params.model, params.audio, labels)
    rows = pd.read_parquet(balanced.rows)["row"]

    def dataset(clips: pd.DataFrame, *, training: bool) -> ClipDataset:
        kept = None if features is None else map_features(features, clips, extractor, params.audio)
        waveforms = MappedWaveforms(clips, store)
        return ClipDataset(clips, waveforms, labels, params.audio, training=training, features=kept, seed=params.seed)

    training_clips = dataset(table.iloc[rows], training=True)
    # By windows, as the final evaluation: the checkpoint is chosen by what is reported of it.
    windows = cut_into_windows(table[table["split"] == "validation"], params.audio)
    arguments = training_arguments(params.training, params.seed, folder / "checkpoints")
    trainer = ClassifierTrainer(
        model=model,
        args=arguments,
        data_collator=Collator(extractor, params.audio),
        train_dataset=training_clips,
        eval_dataset=dataset(windows, training=False),
        compute_metrics=partial(_validation_metrics, windows[CLIP].to_numpy(np.int64)),
        preprocess_logits_for_metrics=lambda logits, labels: logits[0] if isinstance(logits, tuple) else logits,
        callbacks=[EpochTeller(training_clips), *_callbacks(params.training, log)],
        params=params.training,
        class_weights=_weights_tensor(balanced.class_weights, labels),
    )
    trainer.remove_callback(PrinterCallback)
    interrupt = SaveOnInterrupt()
    # Last, so that what other callbacks add to a checkpoint is in it before training ends.
    trainer.add_callback(interrupt)
    inputs: dict[str, Path | str] = {"clips": split_clips, "rows": balanced.rows, "params": params.model_dump_json()}
    checkpoint = last_checkpoint(folder / "checkpoints", inputs)
    if checkpoint:
        logger.info("Going on from %s.", checkpoint.name)
    with no_progress_bars(), interrupt.listening():
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    trained = _describe(trainer, model, folder / "model")
    if params.model.lora is not None:
        merge_lora(model)
    save_model(model, extractor, folder / "model")
    return trained


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
        dataloader_pin_memory=choose_device(params) == "cuda",
        # Batches hold what the family's forward takes and nothing else; pruning would drop waveforms by their names.
        remove_unused_columns=False,
        label_names=["labels"],
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
    return [MetricReporter(log), *stopping]


def _weights_tensor(weights: dict[str, float] | None, labels: list[str]) -> Tensor | None:
    return None if weights is None else torch.tensor([weights[name] for name in labels])


def _validation_metrics(clip: NDArray[np.int64], prediction: EvalPrediction) -> dict[str, float]:
    """Score clips, of whose windows the prediction is."""
    logits = average_windows(np.asarray(prediction.predictions), clip)
    targets = np.asarray(prediction.label_ids)[np.unique(clip, return_index=True)[1]]
    loss = F.cross_entropy(torch.from_numpy(logits), torch.from_numpy(targets))
    return summary_metrics(targets, logits.argmax(axis=-1)) | {_CLIP_LOSS: float(loss)}


class ClassifierTrainer(Trainer):  # type: ignore[misc]  # transformers has no types
    """Trainer with a loss of our own: weighted by class, smoothed, and right under gradient accumulation."""

    # Heads that take **kwargs make transformers 5.23 believe that the loss is divided by the number of accumulated
    # batches already, so that gradients come out that many times too large (eleven of twelve audio families). Our
    # loss is a plain mean over the batch, and this says so. Goes when Trainer asks the loss and not the signature.
    loss_is_scaled_for_ga = False

    def __init__(self, *, params: TrainingParams, class_weights: Tensor | None, **kwargs: Any) -> None:
        """Take Trainer's arguments, and weights of shape (num_classes,) whose mean over the clips is one."""
        super().__init__(**kwargs)
        self._params = params
        self._class_weights = None if class_weights is None else class_weights.to(self.args.device)
        self._frozen = frozen_modules(self.model)
        self._average = None if params.ema_decay is None else WeightAverage(self.model, params.ema_decay)
        if self._average:
            self.add_callback(self._average)

    def create_optimizer(self, model: PreTrainedModel | None = None) -> torch.optim.Optimizer:
        """Set up the optimizer with our groups of parameters."""
        chosen = choose_optimizer(self._params) or self.get_optimizer_cls_and_kwargs(self.args, self.model)
        self.optimizer_cls_and_kwargs = chosen[0], chosen[1] | {"params": parameter_groups(self.model, self._params)}
        return super().create_optimizer(model)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Evaluate the weights that will be kept: their average, where there is one."""
        with self._average.in_model() if self._average else nullcontext():
            scores: dict[str, float] = super().evaluate(*args, **kwargs)
        return scores

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        """Take the loss of whole clips for the mean over their windows, which Trainer computes."""
        output = super().evaluation_loop(*args, **kwargs)
        if f"eval_{_CLIP_LOSS}" in output.metrics:
            output.metrics["eval_loss"] = output.metrics.pop(f"eval_{_CLIP_LOSS}")
        return output

    def _load_best_model(self) -> None:
        super()._load_best_model()
        if self._average:
            self._average.restore(Path(self.state.best_model_checkpoint))
            self._average.into_model()

    def compute_loss(
        self, model: PreTrainedModel, inputs: dict[str, Tensor], return_outputs: bool = False, **_: Any
    ) -> Tensor | tuple[Tensor, Any]:
        """Return the cross entropy: weighted and smoothed in training, plain in evaluation."""
        targets = inputs.pop("labels")
        quieten(self._frozen)
        outputs = model(**inputs)
        logits = outputs.logits.float()
        if model.training:
            weight, smoothing = self._class_weights, self._params.label_smoothing
        else:
            weight, smoothing = None, 0.0
        # reduction="mean" would divide by the weights of the batch, and drift with the batches' classes.
        loss = F.cross_entropy(logits, targets, weight=weight, label_smoothing=smoothing, reduction="none").mean()
        return (loss, outputs) if return_outputs else loss


class MetricReporter(TrainerCallback):  # type: ignore[misc]  # transformers has no types
    """Hands metrics on as they are measured, and says a line an epoch."""

    def __init__(self, log: MetricLog) -> None:
        self._log = log
        self._loss = float("nan")

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **_: Any
    ) -> None:
        """Hand on the training loss, the gradient's norm and the learning rate."""
        names = {"loss": "train/loss", "grad_norm": "train/grad_norm", "learning_rate": "train/learning_rate"}
        found = {ours: float(logs[theirs]) for theirs, ours in names.items() if theirs in (logs or {})}
        if found:
            self._loss = found.get("train/loss", self._loss)
            self._log(found | {"train/epoch": float(state.epoch or 0.0)}, state.global_step)

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, metrics: Any = None, **_: Any
    ) -> None:
        """Hand on the validation metrics."""
        found = {
            f"validation/{name.removeprefix('eval_')}": float(value)
            for name, value in (metrics or {}).items()
            if name.startswith("eval_") and not name.endswith(("_runtime", "_per_second"))
        }
        self._log(found, state.global_step)
        logger.info(
            "epoch %.4g of %g, step %d: training loss %.4f, validation loss %.4f, macro-F1 %.4f",
            state.epoch, state.num_train_epochs, state.global_step, self._loss,
            found["validation/loss"], found["validation/f1_macro"],
        )  # fmt: skip


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
