"""Trainer with our losses, draws, groups of parameters and averages, and what it says of them."""

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

from audiocls.balance import EpochSampler
from audiocls.metrics import CLIP_LOSS
from audiocls.models import frozen_modules, quieten
from audiocls.params import TrainingParams
from audiocls.training.averaging import WeightAverage
from audiocls.training.batch_trainer import BatchTrainer
from audiocls.training.losses import TrainingLoss
from audiocls.training.optimizers import choose_optimizer, parameter_groups

logger = logging.getLogger(__name__)

MetricLog = Callable[[dict[str, float], int], None]
"""Takes metrics by name, and the optimizer step at which they were measured."""


class ClassifierTrainer(BatchTrainer):
    """Trainer with losses and draws of our own, right under gradient accumulation."""

    # Heads that take **kwargs make transformers 5.23 believe that the loss is divided by the number of accumulated
    # batches already, so that gradients come out that many times too large (eleven of twelve audio families). Our
    # loss is a mean over the batch, and this says so. Goes when Trainer asks the loss and not the signature.
    loss_is_scaled_for_ga = False

    def __init__(
        self, *, params: TrainingParams, loss: TrainingLoss, sampler: EpochSampler | None = None, **kwargs: Any
    ) -> None:
        """Take what `BatchTrainer` does, the loss of training, and what draws the clips; None: each once an epoch."""
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

    # transformers 5.23 looks whether training is over once a step is made, and so makes one more after a checkpoint of
    # the last step in the middle of a pass, or a pass more after one at which patience had ended.
    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        patience = [call for call in self.callback_handler.callbacks if isinstance(call, EarlyStoppingCallback)]
        if self.state.global_step >= self.state.max_steps or any(
            call.early_stopping_patience_counter >= call.early_stopping_patience for call in patience
        ):
            self.control.should_training_stop = True
            return
        super()._run_epoch(*args, **kwargs)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Evaluate the weights that will be kept: their average, where there is one."""
        with self._average.in_model() if self._average else nullcontext():
            scores: dict[str, float] = super().evaluate(*args, **kwargs)
        return scores

    # transformers 5.23 writes some families' weights by other names than the model's, and Trainer looks for the
    # model's: it passes over all layers of an audio spectrogram transformer without an error. These three go when
    # Trainer reads a checkpoint as `from_pretrained` does.
    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        folder = Path(output_dir or self.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        save_weights(self.model, folder / SAFE_WEIGHTS_NAME)
        if self._average:
            self._average.save(folder)

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        if self.args.world_size > 1:
            torch.distributed.barrier()  # the trainer's state, written next, says that all of the checkpoint is there

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: PreTrainedModel | None = None) -> None:
        load_weights(self.model, Path(resume_from_checkpoint) / SAFE_WEIGHTS_NAME)

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        """Take the loss of whole clips for the mean over their windows, which Trainer computes."""
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
        """Take the batches of one optimizer step, and count their clips."""
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
        """Weigh a batch, so that all clips of a step count alike: the last batch of a pass may have fewer."""
        if self.args.gradient_accumulation_steps == 1:
            return 1.0
        return clips * self.current_gradient_accumulation_steps / self._clips_in_step


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
        if found and state.is_world_process_zero:
            self._loss = found.get("train/loss", self._loss)
            self._log(found | {"train/epoch": float(state.epoch or 0.0)}, state.global_step)

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, metrics: Any = None, **_: Any
    ) -> None:
        """Hand on the validation metrics."""
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
