"""An exponential moving average of the weights, evaluated and kept in place of the weights themselves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import load_file, save_file
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import PreTrainedModel, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

FILE: Final = "averaged_weights.safetensors"


class WeightAverage(TrainerCallback):  # type: ignore[misc]  # transformers has no types
    """Keeps the average beside the model: updated after every step, saved and restored with every checkpoint.

    `average = decay * average + (1 - decay) * weights`, batch norm's running statistics included; the first step's
    weights are its beginning (Polyak and Juditsky 1992; as in https://arxiv.org/abs/1703.01780).
    """

    def __init__(self, model: PreTrainedModel, decay: float) -> None:
        self._model = model
        step = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        self._average = AveragedModel(model, multi_avg_fn=step, use_buffers=True)

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Take up the average of the checkpoint from which training goes on."""
        self._average.to(args.device)
        if state.global_step:
            self.restore(Path(args.output_dir) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}")
            self._average.n_averaged.fill_(state.global_step)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Move the average towards the weights."""
        self._average.update_parameters(self._model)

    def save(self, checkpoint: Path) -> None:
        """Write the average into a checkpoint, which holds the weights themselves for training to go on from."""
        # Copied, as tensors that share memory, tied weights, are refused.
        save_file({name: tensor.clone() for name, tensor in self._tensors().items()}, checkpoint / FILE)

    def restore(self, checkpoint: Path) -> None:
        """Read the average of a checkpoint."""
        self._average.module.load_state_dict(load_file(checkpoint / FILE))

    def into_model(self) -> None:
        """Give the model the average for good."""
        self._model.load_state_dict(self._tensors())

    @contextmanager
    def in_model(self) -> Iterator[None]:
        """Lend the model the average."""
        own = {name: tensor.clone() for name, tensor in self._model.state_dict().items()}
        self.into_model()
        try:
            yield
        finally:
            self._model.load_state_dict(own)

    def _tensors(self) -> dict[str, torch.Tensor]:
        return dict(self._average.module.state_dict())
