"""How the model is trained, and on which device."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from audiocls.params.strict import Params


class TrainingParams(Params):
    """How the model is trained."""

    epochs: float = Field(10.0, gt=0, description="Number of passes over the training clips.")
    max_steps: int | None = Field(None, ge=1, description="Number of optimizer steps. If given, `epochs` is ignored.")
    optimizer: Literal["adamw", "adafactor", "sgd", "rmsprop", "adagrad"] = Field(
        "adamw",
        description="The optimizers of torch and transformers; the others of Trainer need further packages. sgd has a "
        "momentum of 0.9.",
    )
    learning_rate: float = Field(5.0e-5, gt=0, description="Peak learning rate of the schedule.")
    head_learning_rate: float | None = Field(None, gt=0, description="Peak rate of the head. null: `learning_rate`.")
    layer_decay: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Learning rate of each layer, as a fraction of that of the layer above it. 1: the same for all.",
    )
    schedule: Literal["linear", "cosine", "cosine_with_restarts", "constant"] = Field(
        "linear", description="Learning rate schedule after the warm-up."
    )
    restarts: int | None = Field(
        None, ge=1, description="How often cosine_with_restarts resets the learning rate to its peak. null: 1."
    )
    warmup_fraction: float = Field(
        0.1, ge=0, lt=1, description="Fraction of the steps over which the learning rate rises from 0."
    )
    batch_size: int = Field(16, ge=1, description="Clips per training batch and device.")
    eval_batch_size: int = Field(64, ge=1, description="Clips per evaluation batch and device.")
    group_by_length: bool = Field(
        False, description="Put clips of similar length into one batch, and pad it only to its longest clip."
    )
    gradient_accumulation_steps: int = Field(
        1, ge=1, description="Batches per optimizer step; all their clips have equal weight."
    )
    max_grad_norm: float = Field(1.0, ge=0, description="Clip gradients to this norm; 0: no clipping.")
    gradient_checkpointing: bool = Field(
        False, description="Recompute activations in the backward pass: less memory, but a third slower."
    )
    weight_decay: float = Field(
        0.01,
        ge=0,
        description="Decoupled from the gradient in adamw and adafactor, added to it in sgd, rmsprop and adagrad. Not "
        "applied to biases and norms.",
    )
    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="Fraction of the target probability that is spread over all classes."
    )
    early_stopping_patience: int | None = Field(
        None, ge=1, description="Stop after this many epochs without a better `best_metric`. null: never."
    )
    resume: bool = Field(True, description="Continue an interrupted run of the same params from its last checkpoint.")
    checkpoint_minutes: float | None = Field(
        15.0, gt=0, description="Also write a checkpoint if the last one is this old. null: only after each epoch."
    )
    best_metric: (
        Literal[
            "loss",
            "accuracy",
            "balanced_accuracy",
            "precision_macro",
            "recall_macro",
            "f1_macro",
            "precision_weighted",
            "recall_weighted",
            "f1_weighted",
            "map_macro",
            "map_micro",
            "lwlrap",
            "auroc_macro",
            "f1_micro",
            "exact_match",
        ]
        | None
    ) = Field(
        None,
        description="Validation metric that selects the checkpoint to keep. null: f1_macro, and map_macro with "
        "`labels: multi`. The last six, f1_macro and loss are those of `labels: multi`.",
    )
    processes: int = Field(
        1,
        ge=1,
        description="Number of training processes, one per GPU; `batch_size` is per process. 1: no new process.",
    )
    ema_decay: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Evaluate and keep an exponential moving average of the weights with this decay per step. The "
        "decay rises to this value in the first steps. null: no averaging.",
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="auto: bf16 on a GPU that supports it, otherwise fp32. fp16 is for GPUs without bf16."
    )
    tf32: bool = Field(False, description="Multiply float32 matrices in TF32: faster on NVIDIA GPUs since Ampere.")
    compile: bool = Field(
        False, description="Use torch.compile: faster steps after minutes of compilation, for long runs on a GPU."
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: the GPU if present, otherwise the CPU.")


WITHOUT_TRAINING: Final = ("eval_batch_size", "resume", "device")
"""Fields that apply when only a head is fitted on embeddings."""

BEYOND_THE_RECIPE: Final = (
    "head_learning_rate", "layer_decay", "group_by_length", "gradient_checkpointing", "label_smoothing", "processes",
    "ema_decay", "compile",
)  # fmt: skip
"""Fields that users set only to train a whole model."""

FOR_THE_ENCODER: Final = ("layer_decay", "gradient_checkpointing")
"""Fields without effect if the encoder is frozen."""
