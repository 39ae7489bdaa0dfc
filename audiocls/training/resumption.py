"""Going on with a training that was killed or interrupted, from its last whole checkpoint."""

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
INTERRUPTED: Final = "Interrupted: this step is finished and a checkpoint written; press Ctrl-C again to end at once."


def last_checkpoint(folder: Path, inputs: dict[str, Path | str]) -> Path | None:
    """Return the newest whole checkpoint of the same training, and clear the folder of all others.

    Args:
        folder: Of the checkpoints.
        inputs: What the training is made of: files by their bytes, texts by themselves. Where any of it is not what
            the checkpoints were written with, they are removed, and training begins anew.
    """
    identity = {name: _digest(value) for name, value in inputs.items()}
    found = sorted(folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*"), key=lambda path: int(path.name.rsplit("-", 1)[1]))
    if found and _read(folder / _IDENTITY) != identity:
        logger.warning("The data are not those of the checkpoints in %s: training begins anew.", folder)
        shutil.rmtree(folder)
        found = []
    # Trainer writes its state last: a folder without it is half a checkpoint.
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
    """On Ctrl-C, ends the step that is being made, writes a checkpoint, and then ends as Ctrl-C does.

    A second Ctrl-C ends at once. Away from the main thread, where Python takes no signals, nothing is caught. Where
    several processes train together, one that was asked is enough: they agree after each step, and end together.
    """

    def __init__(self) -> None:
        self._asked = False

    def ask(self) -> None:
        """Do as on Ctrl-C: for processes that no terminal reaches."""
        self._asked = True

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Catch Ctrl-C while the block runs.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed, and no checkpoint came after it, as behind the last one.
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
        """Connect the processes: one that ends in its first step would have the others wait for it, and not fail."""
        any_process(False, args)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Ask for a checkpoint where Ctrl-C was pressed."""
        control.should_save = control.should_save or any_process(self._asked, args)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """End once the checkpoint is written.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed.
        """
        if any_process(self._asked, args):  # which no process comes to before the checkpoint is written
            if state.is_world_process_zero:
                logger.warning("Step %d is saved; the same command goes on from there.", state.global_step)
            raise KeyboardInterrupt


class SaveByTheClock(TrainerCallback):  # type: ignore[misc]  # transformers has no types
    """Writes a checkpoint where the last one is long ago, so that a long pass that is killed loses minutes."""

    def __init__(self, minutes: float) -> None:
        self._seconds = minutes * 60
        self._saved_at = time.monotonic()

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Begin to count."""
        self._saved_at = time.monotonic()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Ask for a checkpoint when it is time, in all processes at the same step."""
        is_due = time.monotonic() - self._saved_at >= self._seconds
        control.should_save = any_process(is_due, args) or control.should_save

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Count anew."""
        self._saved_at = time.monotonic()


def any_process(flag: bool, args: TrainingArguments) -> bool:
    """Tell whether the flag is set in any of the processes that train together; all of them have to come here."""
    if args.world_size == 1:
        return flag
    found = torch.tensor(int(flag))
    distributed.all_reduce(found, distributed.ReduceOp.MAX, group=_talk())
    return bool(found)


@functools.cache
def _talk() -> ProcessGroup:
    """Return a group that talks by gloo: a GPU would have to come to the end of what it was given before it can say."""
    return distributed.new_group(backend="gloo")
