"""The progress bar of training: steps, loss, clips per second and remaining time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from audiocls.progress import Bar, progress_bar


@contextmanager
def step_progress(args: TrainingArguments) -> Iterator[list[TrainerCallback]]:
    """Show a bar while the block runs; yield the callbacks that advance it.

    With several processes there is no bar, because they would overwrite each other's.
    """
    if args.world_size > 1:
        yield []
        return
    with progress_bar("training", 0, "steps") as bar:
        yield [StepReporter(bar)]


class StepReporter(TrainerCallback):  # type: ignore[misc]  # transformers has no types
    """Advance a bar with every optimizer step."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._loss = ""
        self._first = 0
        self._start = 0.0

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Set the total, and the steps done before resuming."""
        self._bar.expect(state.max_steps)
        self._bar.advance(state.global_step)
        self._first, self._start = state.global_step, time.perf_counter()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Advance by a step."""
        clips = (state.global_step - self._first) * args.train_batch_size * args.gradient_accumulation_steps
        speed = clips / max(time.perf_counter() - self._start, 1e-9)
        self._bar.advance(1)
        self._bar.say(*filter(None, (self._loss, f"{speed:,.0f} clips/s")))

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **_: Any
    ) -> None:
        """Remember the loss."""
        if "loss" in (logs or {}):
            self._loss = f"loss {float(logs['loss']):.4f}"
