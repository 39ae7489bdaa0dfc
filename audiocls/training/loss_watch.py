"""Stops a training on a non-finite loss or gradient, and says where that began."""

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
    """A loss or a norm that is looked at later."""

    name: str
    value: Tensor
    step: int
    rows: tuple[int, ...]


class LossWatch(TrainerCallback):  # type: ignore[misc]  # transformers has no types
    """Looks at the loss and the gradient of every batch: at once on the CPU, on a GPU when Trainer waits anyway.

    A look at one number makes the CPU wait for all that the GPU still has to do. Until the next line of the log, the
    next evaluation or the next checkpoint, a GPU's losses and norms and their clips are therefore kept. The gradient
    matters by itself: clipping to a norm turns one NaN of it into NaN weights everywhere, and the loss that says so is
    that of the next step, with other clips.
    """

    def __init__(self, clip_ids: Sequence[str], arguments: TrainingArguments, *, at_once: bool | None = None) -> None:
        """Watch a training.

        Args:
            clip_ids: Of the training clips, by position.
            arguments: Of the training.
            at_once: Look at each loss when it comes. None: where training is on the CPU.
        """
        self._clip_ids = clip_ids
        self._at_once = arguments.device.type == "cpu" if at_once is None else at_once
        # In float16 a loss that was scaled too high gives such gradients; the scaler leaves the step out and goes down.
        self._sees_gradients = not arguments.fp16
        self._is_alone = arguments.world_size == 1
        self._hint = _what_to_try(arguments)
        self._kept: list[_Measured] = []
        self._rows: tuple[int, ...] = ()

    def note(self, loss: Tensor, step: int, rows: tuple[int, ...]) -> None:
        """Take the loss of a batch.

        Args:
            loss: A scalar on any device.
            step: The optimizer step that it belongs to, from 1.
            rows: Positions of the batch's clips.

        Raises:
            TrainingError: The loss is looked at at once, and is non-finite.
        """
        self._rows = rows
        self._kept.append(_Measured("loss", loss.detach(), step, rows))
        if self._at_once:
            self.check()

    def note_gradients(self, model: nn.Module, step: int) -> None:
        """Look at the gradients of the batch whose loss came last, where that is done at once.

        Raises:
            TrainingError: One is non-finite.
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
            return  # the sum of the squares alone is too large
        raise TrainingError(
            f"the loss is finite, and the gradient is not, at step {step}, in {name_some(bad, _MOST_PARAMETERS)}"
            f"{self._name_clips(self._rows)}. {self._hint}"
        )

    def note_norm(self, norm: Tensor, step: int) -> None:
        """Take the norm of a step's gradients, where they are looked at later.

        Args:
            norm: A scalar on any device.
            step: The optimizer step, from 1.
        """
        if not self._at_once and self._sees_gradients:
            rows = [row for kept in self._kept if kept.step == step for row in kept.rows]
            self._kept.append(_Measured("gradient's norm", norm.detach(), step, tuple(rows)))

    def check(self) -> None:
        """Look at what was kept.

        Raises:
            TrainingError: A loss or a norm was non-finite; the first such is named.
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
        """Name the clips behind a gradient, unless it is the sum of several processes' and theirs are not known."""
        return self._list_clips(rows) if self._is_alone else ""

    def _list_clips(self, rows: Iterable[int]) -> str:
        return f", in a batch of the clips {name_some((self._clip_ids[row] for row in rows), _MOST_CLIPS)}"

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Look before anything is logged, evaluated or saved."""
        if control.should_log or control.should_evaluate or control.should_save:
            self.check()

    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Look before the pass is evaluated and saved."""
        self.check()

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Look at the last ones."""
        self.check()


def _what_to_try(arguments: TrainingArguments) -> str:
    precision = "bf16" if arguments.bf16 else "fp16" if arguments.fp16 else "fp32"
    return (
        f"Try a lower training.learning_rate (it is {arguments.learning_rate:g}), "
        + (f"training.precision=fp32 (it is {precision}), " if precision != "fp32" else "")
        + f"training.max_grad_norm=1.0 (it is {arguments.max_grad_norm:g}; 0 does not clip), and listen to these clips."
    )
