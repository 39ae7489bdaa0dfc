"""Stops a training whose loss is no number any more, and says where that began."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from audiocls.errors import TrainingError, name_some

_MOST_CLIPS = 64


class LossWatch(TrainerCallback):  # type: ignore[misc]  # transformers has no types
    """Looks at the loss of every batch: at once on the CPU, and on a GPU when Trainer waits for it anyway.

    A look at one number makes the CPU wait for all that the GPU still has to do. Until the next line of the log, the
    next evaluation or the next checkpoint, a GPU's losses and their clips are therefore kept.
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
        self._hint = _what_to_try(arguments)
        self._kept: list[tuple[Tensor, int, tuple[int, ...]]] = []

    def note(self, loss: Tensor, step: int, rows: tuple[int, ...]) -> None:
        """Take the loss of a batch.

        Args:
            loss: A scalar on any device.
            step: The optimizer step that it belongs to, from 1.
            rows: Positions of the batch's clips.

        Raises:
            TrainingError: The loss is looked at at once, and is no finite number.
        """
        self._kept.append((loss.detach(), step, rows))
        if self._at_once:
            self.check()

    def check(self) -> None:
        """Look at what was kept.

        Raises:
            TrainingError: A loss was no finite number; the first such is named.
        """
        kept, self._kept = self._kept, []
        if not kept:
            return
        finite = torch.stack([loss for loss, _, _ in kept]).isfinite().tolist()
        for is_finite, (loss, step, rows) in zip(finite, kept, strict=True):
            if not is_finite:
                names = name_some((self._clip_ids[row] for row in rows), _MOST_CLIPS)
                raise TrainingError(
                    f"the loss is {loss.item()} at step {step}, in a batch of the clips {names}. {self._hint}"
                )

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
