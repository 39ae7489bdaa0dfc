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

    def __init__(self, clip_ids: Sequence[str]) -> None:
        """Take the ids of the training clips, by position."""
        self._clip_ids = clip_ids
        self._hint = ""
        self._kept: list[tuple[Tensor, int, tuple[int, ...]]] = []

    def note(self, loss: Tensor, step: int, rows: tuple[int, ...], hint: str) -> None:
        """Take the loss of a batch.

        Args:
            loss: A scalar on any device.
            step: The optimizer step that it belongs to, from 1.
            rows: Positions of the batch's clips.
            hint: The settings in force, for the message.

        Raises:
            TrainingError: The loss is on the CPU, and is no finite number.
        """
        self._hint = hint
        self._kept.append((loss.detach(), step, rows))
        if loss.device.type == "cpu":
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
