"""Trainer with our losses, samplers, parameter groups and weight average, and the reporter of its metrics."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_model as load_weights, save_model as save_weights
from torch import Tensor
from torch.nn import functional as F
from transformers import (
    EarlyStoppingCallback,
    PreTrainedModel,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.utils import SAFE_WEIGHTS_NAME

from audiocls.balance import EpochSampler, WindowSampler
from audiocls.metrics import CLIP_LOSS
from audiocls.models import frozen_modules, quieten
from audiocls.params import TrainingParams
from audiocls.training.averaging import WeightAverage
from audiocls.training.batch_trainer import BatchTrainer
from audiocls.training.losses import TrainingLoss
from audiocls.training.optimizers import choose_optimizer, parameter_groups

logger = logging.getLogger(__name__)

MetricLog = Callable[[dict[str, float], int], None]
"""Receives metrics by name, and the optimizer step at which they were measured."""


class ClassifierTrainer(BatchTrainer):
    """Trainer with our losses and samplers, correct under gradient accumulation."""

    # If a model's forward takes **kwargs, transformers 5.23 assumes that the loss is already divided by the number of
    # accumulated batches, and gradients are that many times too large (eleven of twelve audio families). Our loss is
    # a mean over the batch. Remove once Trainer no longer decides by the signature.
    loss_is_scaled_for_ga = False

    def __init__(
        self,
        *,
        params: TrainingParams,
        loss: TrainingLoss,
        sampler: EpochSampler | WindowSampler | None = None,
        **kwargs: Any,
    ) -> None:
        """Initialize with the training loss and the sampler of the clips or windows; None: each clip once per epoch."""
        super().__init__(**kwargs)
        self._params = params
        self._loss = loss.to(self.args.device)
        self._sampler = sampler
        self._frozen = frozen_modules(self.model)
        self._clips_in_step = 0
        self._average = None if params.ema_decay is None else WeightAverage(self.model, params.ema_decay)
        if self._average:
            self.add_callback(self._average)

    def create_optimizer(self, model: PreTrainedModel | None = None) -> torch.optim.Optimizer:
        """Set up the optimizer with our groups of parameters."""
        chosen = choose_optimizer(self._params) or self.get_optimizer_cls_and_kwargs(self.args, self.model)
        self.optimizer_cls_and_kwargs = chosen[0], chosen[1] | {"params": parameter_groups(self.model, self._params)}
        return super().create_optimizer(model)

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        return super()._get_train_sampler(train_dataset) if self._sampler is None else self._sampler

    # transformers 5.23 checks only after a step whether training is over. So it would do one more step when resuming
    # from a checkpoint of the last step within an epoch, or one more epoch after early stopping.
    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        patience = [call for call in self.callback_handler.callbacks if isinstance(call, EarlyStoppingCallback)]
        if self.state.global_step >= self.state.max_steps or any(
            call.early_stopping_patience_counter >= call.early_stopping_patience for call in patience
        ):
            self.control.should_training_stop = True
            return
        super()._run_epoch(*args, **kwargs)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Evaluate the weights that will be saved: their average, if there is one."""
        with self._average.in_model() if self._average else nullcontext():
            scores: dict[str, float] = super().evaluate(*args, **kwargs)
        return scores

    # transformers 5.23 saves the weights of some families under other names than the model's, but Trainer loads by the
    # model's: it skips all layers of an audio spectrogram transformer without an error. Remove `_save`,
    # `_load_from_checkpoint` and `_load_best_model` once Trainer loads a checkpoint as `from_pretrained` does.
    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        folder = Path(output_dir or self.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        save_weights(self.model, folder / SAFE_WEIGHTS_NAME)
        if self._average:
            self._average.save(folder)

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        if self.args.world_size > 1:
            torch.distributed.barrier()  # Trainer's state, written next, marks the checkpoint as complete

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: PreTrainedModel | None = None) -> None:
        load_weights(self.model, Path(resume_from_checkpoint) / SAFE_WEIGHTS_NAME)

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        """Replace Trainer's loss, a mean over windows, by the loss of whole clips."""
        output = super().evaluation_loop(*args, **kwargs)
        if f"eval_{CLIP_LOSS}" in output.metrics:
            output.metrics["eval_loss"] = output.metrics.pop(f"eval_{CLIP_LOSS}")
        return output

    def _load_best_model(self) -> None:
        best = Path(self.state.best_model_checkpoint)
        load_weights(self.model, best / SAFE_WEIGHTS_NAME)
        if self._average:
            self._average.restore(best)
            self._average.into_model()

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> tuple[list[dict[str, Any]], Any]:
        """Return the batches of one optimizer step, and count their clips."""
        batches, num_items = super().get_batch_samples(*args, **kwargs)
        self._clips_in_step = sum(len(batch["labels"]) for batch in batches)
        return batches, num_items

    def compute_loss(
        self, model: PreTrainedModel, inputs: dict[str, Tensor], return_outputs: bool = False, **_: Any
    ) -> Tensor | tuple[Tensor, Any]:
        """Return the balance method's loss in training, the plain cross entropy in evaluation."""
        targets = inputs.pop("labels")
        quieten(self._frozen)
        outputs = model(**inputs)
        logits = outputs.logits.float()
        if not model.training:
            loss = F.cross_entropy(logits, targets)
        else:
            progress = self.state.global_step / max(1, self.state.max_steps)
            loss = self._loss(logits, targets, progress) * self._weight_in_step(len(targets))
        return (loss, outputs) if return_outputs else loss

    def _weight_in_step(self, clips: int) -> float:
        """Return a batch's weight, so that all clips of a step count equally: the last batch may be smaller."""
        if self.args.gradient_accumulation_steps == 1:
            return 1.0
        return clips * self.current_gradient_accumulation_steps / self._clips_in_step


class MetricReporter(TrainerCallback):  # type: ignore[misc]  # transformers has no types
    """Forward metrics as they are measured, and log a line per epoch."""

    def __init__(self, log: MetricLog) -> None:
        self._log = log
        self._loss = float("nan")

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **_: Any
    ) -> None:
        """Forward the training loss, the gradient norm and the learning rate."""
        names = {"loss": "train/loss", "grad_norm": "train/grad_norm", "learning_rate": "train/learning_rate"}
        found = {ours: float(logs[theirs]) for theirs, ours in names.items() if theirs in (logs or {})}
        if found and state.is_world_process_zero:
            self._loss = found.get("train/loss", self._loss)
            self._log(found | {"train/epoch": float(state.epoch or 0.0)}, state.global_step)

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, metrics: Any = None, **_: Any
    ) -> None:
        """Forward the validation metrics."""
        if not state.is_world_process_zero:
            return
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
