"""Arguments of transformers' Trainer: device, precision, schedule and the folder of the checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import torch
from transformers import PreTrainedModel, TrainingArguments

from audiocls.batches import choose_loading
from audiocls.models import has_faulty_bfloat16, use_float32, use_matrix_products, use_quick_dropout
from audiocls.params import TrainingParams
from audiocls.training.machines import num_processes
from audiocls.training.optimizers import TRAINER_NAMES

LOG_EVERY_STEPS: Final = 10
_SCHEDULES: Final = {
    "linear": "linear",
    "cosine": "cosine",
    "cosine_with_restarts": "cosine_with_restarts",
    "constant": "constant_with_warmup",
}


def training_arguments(
    params: TrainingParams, seed: int, folder: Path, best_metric: str = "f1_macro"
) -> TrainingArguments:
    """Translate our params into Trainer's arguments; `best_metric` of validation selects the checkpoint."""
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
        # Reentrant checkpointing gives no gradients if a layer's input needs none, such as after a frozen front end.
        activation_checkpointing_kwargs={"use_reentrant": False},
        # With checkpointing, Trainer sets this to False, because reentrant checkpointing does not support it. With
        # several processes, layer drop would then fail with "Expected to have finished reduction".
        ddp_find_unused_parameters=True,
        max_grad_norm=params.max_grad_norm,
        weight_decay=params.weight_decay,
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=1,
        load_best_model_at_end=True,
        # Includes the number of epochs without a better score.
        restore_callback_states_from_checkpoint=True,
        metric_for_best_model=f"eval_{best_metric}",
        greater_is_better=best_metric != "loss",
        seed=seed,
        bf16=precision == "bf16",
        fp16=precision == "fp16",
        tf32=params.tf32 or None,
        torch_compile=params.compile,
        use_cpu=choose_device(params) == "cpu",
        ddp_backend="gloo" if num_processes() > 1 and choose_device(params) == "cpu" else None,
        **choose_loading(choose_device(params)).trainer_options(),
        # Batches hold only what the family's forward takes; pruning would drop the waveforms by their names.
        remove_unused_columns=False,
        label_names=["labels"],
        # Otherwise the logits of all windows are kept on the device until evaluation ends.
        batch_eval_metrics=True,
        logging_steps=LOG_EVERY_STEPS,
        logging_first_step=True,
        # With the filter, a NaN loss is logged as the last finite one.
        logging_nan_inf_filter=False,
        report_to="none",
        disable_tqdm=True,
        log_level="error",
    )


def _schedule_options(params: TrainingParams) -> dict[str, Any]:
    return {"num_cycles": (params.restarts or 1) + 1} if params.schedule == "cosine_with_restarts" else {}


def prepare_model(model: PreTrainedModel, params: TrainingParams) -> None:
    """Switch the model to the fastest implementation for its device, in place; the weights are unchanged."""
    if choose_device(params) == "cpu" and not params.compile:  # torch.compile generates its own kernels
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
    """Return "bf16" or "fp32"; `auto` is bf16 if the GPU supports it in hardware."""
    if params.precision != "auto":
        return params.precision
    return (
        "bf16"
        if choose_device(params) == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        else "fp32"
    )
