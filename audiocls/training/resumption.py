"""Resume a killed or interrupted training from its last complete checkpoint."""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final

import torch
from torch import distributed
from torch.distributed import ProcessGroup
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from audiocls.files import replacing

logger = logging.getLogger(__name__)

_IDENTITY: Final = "identity.json"
INTERRUPTED: Final = "Interrupted: finishing this step and writing a checkpoint; press Ctrl-C again to stop at once."


def last_checkpoint(folder: Path, inputs: dict[str, Path | str]) -> Path | None:
    """Return the newest complete checkpoint of the same training, and remove incomplete and outdated ones.

    Args:
        folder: The folder of the checkpoints.
        inputs: Inputs of the training: files, of which the bytes count, or texts. If any differs from when the
            checkpoints were written, they are removed, and training starts from the beginning.
    """
    identity = {name: _digest(value) for name, value in inputs.items()}
    found = sorted(folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*"), key=lambda path: int(path.name.rsplit("-", 1)[1]))
    if found and _read(folder / _IDENTITY) != identity:
        logger.warning("The data or params are not those of the checkpoints in %s: training restarts.", folder)
        shutil.rmtree(folder)
        found = []
    # Trainer writes its state last: a checkpoint without it is incomplete.
    whole = [path for path in found if (path / TRAINER_STATE_NAME).exists()]
    for path in set(found) - set(whole):
        shutil.rmtree(path)
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / _IDENTITY) as part:
        part.write_text(json.dumps(identity, indent=2) + "\n")
    return whole[-1] if whole else None


def _digest(value: Path | str) -> str:
    content = value.read_bytes() if isinstance(value, Path) else value.encode()
    return hashlib.sha256(content).hexdigest()


def _read(path: Path) -> Any:
    return json.loads(path.read_text()) if path.exists() else None


class SaveOnInterrupt(TrainerCallback):  # type: ignore[misc]  # transformers has no types
    """On Ctrl-C, finish the current step, write a checkpoint, and raise KeyboardInterrupt.

    A second Ctrl-C stops immediately. Signals are only caught in the main thread. With several processes, one request
    is enough: they synchronize after each step, and stop together.
    """

    def __init__(self) -> None:
        self._asked = False

    def ask(self) -> None:
        """Act as on Ctrl-C, in processes without a terminal."""
        self._asked = True

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Catch Ctrl-C while the block runs.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed after the last checkpoint.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGINT, self._ask)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
        if self._asked:
            raise KeyboardInterrupt

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self.ask()
        logger.warning(INTERRUPTED)

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Connect the processes: if one ended in its first step, the others would wait for it instead of failing."""
        any_process(False, args)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Request a checkpoint if Ctrl-C was pressed."""
        control.should_save = control.should_save or any_process(self._asked, args)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Stop once the checkpoint is written.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed.
        """
        if any_process(self._asked, args):  # also waits until all processes have written it
            if state.is_world_process_zero:
                logger.warning("Step %d is saved; run the same command to resume from it.", state.global_step)
            raise KeyboardInterrupt


class SaveByTheClock(TrainerCallback):  # type: ignore[misc]  # transformers has no types
    """Write a checkpoint every few minutes, so that killing a long epoch loses only minutes of work."""

    def __init__(self, minutes: float) -> None:
        self._seconds = minutes * 60
        self._saved_at = time.monotonic()

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Start the timer."""
        self._saved_at = time.monotonic()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Request a checkpoint when it is due, in all processes at the same step."""
        is_due = time.monotonic() - self._saved_at >= self._seconds
        control.should_save = any_process(is_due, args) or control.should_save

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Restart the timer."""
        self._saved_at = time.monotonic()


def any_process(flag: bool, args: TrainingArguments) -> bool:
    """Return whether the flag is set in any process; all processes must call this."""
    if args.world_size == 1:
        return flag
    found = torch.tensor(int(flag))
    distributed.all_reduce(found, distributed.ReduceOp.MAX, group=_gloo_group())
    return bool(found)


@functools.cache
def _gloo_group() -> ProcessGroup:
    """Return a gloo group: a reduction on the GPU would wait for its queued work."""
    return distributed.new_group(backend="gloo")
