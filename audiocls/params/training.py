"""How the weights are fitted, and on what."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from audiocls.params.strict import Params


class TrainingParams(Params):
    """How the weights are fitted."""

    epochs: float = Field(10.0, gt=0, description="Passes over the training clips.")
    max_steps: int | None = Field(None, ge=1, description="Optimizer steps; when given, `epochs` is not looked at.")
    optimizer: Literal["adamw", "adafactor", "sgd", "rmsprop", "adagrad"] = Field(
        "adamw",
        description="sgd has a momentum of 0.9. These are torch's and transformers' own; others that Trainer knows "
        "need further packages.",
    )
    learning_rate: float = Field(5.0e-5, gt=0, description="The highest rate of the schedule.")
    head_learning_rate: float | None = Field(None, gt=0, description="Of the head alone. null: `learning_rate`.")
    layer_decay: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Each layer learns at this share of the rate of the layer above it; 1: all alike.",
    )
    schedule: Literal["linear", "cosine", "cosine_with_restarts", "constant"] = Field(
        "linear", description="After the warm-up."
    )
    restarts: int | None = Field(
        None, ge=1, description="Of cosine_with_restarts: how often the rate jumps back to its top. null is 1."
    )
    warmup_fraction: float = Field(0.1, ge=0, lt=1, description="Share of the steps in which the rate rises from 0.")
    batch_size: int = Field(16, ge=1, description="Clips per step and device.")
    eval_batch_size: int = Field(64, ge=1, description="Clips per step and device in evaluation.")
    group_by_length: bool = Field(
        False, description="Gather clips of like length in a batch, and make it as long as its longest clip."
    )
    gradient_accumulation_steps: int = Field(
        1, ge=1, description="Batches per optimizer step, in which all clips count alike."
    )
    max_grad_norm: float = Field(1.0, ge=0, description="Gradients are clipped to this norm; 0 does not clip.")
    gradient_checkpointing: bool = Field(
        False, description="Compute activations anew in the backward pass: less memory, a third slower."
    )
    weight_decay: float = Field(
        0.01,
        ge=0,
        description="Decoupled from the gradient in adamw and adafactor, added to it in sgd, rmsprop and adagrad; "
        "biases and norms have none.",
    )
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="Share of the target spread over all classes.")
    early_stopping_patience: int | None = Field(
        None, ge=1, description="Epochs without a better `best_metric` before training ends. null: never."
    )
    resume: bool = Field(
        True, description="Go on with a run of the same params that was killed or interrupted, from its checkpoint."
    )
    checkpoint_minutes: float | None = Field(
        15.0, gt=0, description="A checkpoint is also written when the last one is so old. null: after epochs alone."
    )
    best_metric: Literal[
        "loss",
        "accuracy",
        "balanced_accuracy",
        "precision_macro",
        "recall_macro",
        "f1_macro",
        "precision_weighted",
        "recall_weighted",
        "f1_weighted",
    ] = Field("f1_macro", description="The validation metric by which the checkpoint is kept.")
    processes: int = Field(
        1, ge=1, description="Processes that train together, one a GPU; `batch_size` is each one's. 1: this one alone."
    )
    ema_decay: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Keep and evaluate a moving average of the weights with this decay a step, to which it rises in "
        "the first steps. null: the weights.",
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="auto: bf16 on a GPU that has it, else fp32. fp16 is for GPUs without bf16."
    )
    tf32: bool = Field(False, description="Multiply float32 matrices in TF32: faster on NVIDIA GPUs since Ampere.")
    compile: bool = Field(
        False, description="torch.compile: minutes at the start, faster steps after, for long runs on a GPU."
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="auto: the GPU where there is one, else the CPU."
    )


WITHOUT_TRAINING: Final = ("eval_batch_size", "resume", "device")
"""All that is looked at where a head is fitted on embeddings and nothing else is trained."""

BEYOND_THE_RECIPE: Final = (
    "head_learning_rate", "layer_decay", "group_by_length", "gradient_checkpointing", "label_smoothing", "processes",
    "ema_decay", "compile",
)  # fmt: skip
"""What nobody writes down who does not mean the training of a whole model."""

FOR_THE_ENCODER: Final = ("layer_decay", "gradient_checkpointing")
"""What is of no matter where the encoder keeps its weights."""
