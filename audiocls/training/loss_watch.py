"""Stop training on a non-finite loss or gradient, and report the first step and clips affected."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from audiocls.errors import TrainingError, name_some

_MOST_CLIPS = 64
_MOST_PARAMETERS = 4


@dataclass(frozen=True)
class _Measured:
    """A loss or a norm that is checked later."""

    name: str
    value: Tensor
    step: int
    rows: tuple[int, ...]


class LossWatch(TrainerCallback):  # type: ignore[misc]  # transformers has no types
    """Check the loss and the gradient of every batch: immediately on the CPU, later on a GPU.

    Reading a number from a GPU synchronizes the CPU with it. So a GPU's losses, norms and clips are kept until Trainer
    next logs, evaluates or saves, and synchronizes anyway. The gradient is checked as well, because norm clipping turns
    a single NaN into NaN weights everywhere, and only the loss of the next step, with other clips, would show it.
    """

    def __init__(self, clip_ids: Sequence[str], arguments: TrainingArguments, *, at_once: bool | None = None) -> None:
        """Watch a training.

        Args:
            clip_ids: IDs of the training clips, by position.
            arguments: Trainer's arguments.
            at_once: Check each loss immediately. None: if training is on the CPU.
        """
        self._clip_ids = clip_ids
        self._at_once = arguments.device.type == "cpu" if at_once is None else at_once
        # In float16, too high a loss scale gives non-finite gradients; the scaler skips the step and lowers the scale.
        self._sees_gradients = not arguments.fp16
        self._is_alone = arguments.world_size == 1
        self._hint = _what_to_try(arguments)
        self._kept: list[_Measured] = []
        self._rows: tuple[int, ...] = ()

    def note(self, loss: Tensor, step: int, rows: tuple[int, ...]) -> None:
        """Record the loss of a batch.

        Args:
            loss: A scalar on any device.
            step: The optimizer step that it belongs to, from 1.
            rows: Positions of the batch's clips.

        Raises:
            TrainingError: The loss is checked immediately, and is non-finite.
        """
        self._rows = rows
        self._kept.append(_Measured("loss", loss.detach(), step, rows))
        if self._at_once:
            self.check()

    def note_gradients(self, model: nn.Module, step: int) -> None:
        """Check the gradients of the last recorded batch, if checks are immediate.

        Raises:
            TrainingError: A gradient is non-finite.
        """
        if not (self._at_once and self._sees_gradients):
            return
        found = {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
        if torch.nn.utils.get_total_norm(found.values()).isfinite():
            return
        bad = [
            f"{name} ({int((~gradient.isfinite()).sum())} of {gradient.numel()} values)"
            for name, gradient in found.items()
            if not gradient.isfinite().all()
        ]
        if not bad:
            return  # only the sum of the squares overflows
        raise TrainingError(
            f"the loss is finite but the gradient is not, at step {step}, in {name_some(bad, _MOST_PARAMETERS)}"
            f"{self._name_clips(self._rows)}. {self._hint}"
        )

    def note_norm(self, norm: Tensor, step: int) -> None:
        """Record the norm of a step's gradients, if they are checked later.

        Args:
            norm: A scalar on any device.
            step: The optimizer step, from 1.
        """
        if not self._at_once and self._sees_gradients:
            rows = [row for kept in self._kept if kept.step == step for row in kept.rows]
            self._kept.append(_Measured("gradient's norm", norm.detach(), step, tuple(rows)))

    def check(self) -> None:
        """Check the recorded losses and norms.

        Raises:
            TrainingError: A loss or a norm is non-finite; the message names the first.
        """
        kept, self._kept = self._kept, []
        if not kept:
            return
        finite = torch.stack([measured.value.float() for measured in kept]).isfinite().tolist()
        for is_finite, measured in zip(finite, kept, strict=True):
            if not is_finite:
                clips = self._name_clips(measured.rows) if measured.name != "loss" else self._list_clips(measured.rows)
                raise TrainingError(
                    f"the {measured.name} is {measured.value.item()} at step {measured.step}{clips}. {self._hint}"
                )

    def _name_clips(self, rows: Iterable[int]) -> str:
        """Name the clips of a gradient, unless it includes the unknown clips of other processes."""
        return self._list_clips(rows) if self._is_alone else ""

    def _list_clips(self, rows: Iterable[int]) -> str:
        return f", in a batch of the clips {name_some((self._clip_ids[row] for row in rows), _MOST_CLIPS)}"

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Check before logging, evaluation and saving."""
        if control.should_log or control.should_evaluate or control.should_save:
            self.check()

    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Check before the epoch is evaluated and saved."""
        self.check()

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Check the remaining values."""
        self.check()


def _what_to_try(arguments: TrainingArguments) -> str:
    precision = "bf16" if arguments.bf16 else "fp16" if arguments.fp16 else "fp32"
    return (
        f"Try a lower training.learning_rate (it is {arguments.learning_rate:g}), "
        + (f"training.precision=fp32 (it is {precision}), " if precision != "fp32" else "")
        + f"training.max_grad_norm=1.0 (it is {arguments.max_grad_norm:g}; 0 does not clip), and listen to these clips."
    )
