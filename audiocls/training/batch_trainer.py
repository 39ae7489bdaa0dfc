"""Trainer for batches that carry the origin of their clips."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Sampler
from transformers import PreTrainedModel, Trainer
from transformers.trainer_pt_utils import get_length_grouped_indices

from audiocls.augmentation import Augmenter
from audiocls.batches import LENGTHS_STREAM, ORIGIN, Origin, TrainingClips, augment_inputs, stream_seed
from audiocls.training.loss_watch import LossWatch


class BatchTrainer(Trainer):  # type: ignore[misc]  # transformers has no types
    """Trainer that pops the origin of a training batch, augments the batch, and checks its loss."""

    def __init__(
        self,
        *,
        watch: LossWatch | None = None,
        augmenter: Augmenter | None = None,
        finish: Callable[[dict[str, Any]], dict[str, Any]] = dict,
        group_by_length: bool = False,
        **kwargs: Any,
    ) -> None:
        """Initialize Trainer, with these additional arguments.

        Args:
            watch: Checks the loss of every training batch.
            augmenter: Augments training clips on the model's device, if the collator does not.
            finish: Computes the model's inputs on its device, if the collator does not.
            group_by_length: Batch clips of similar length together.
            **kwargs: Trainer's.
        """
        super().__init__(**kwargs)
        self._origin: Origin | None = None
        self._watch = watch
        self._augmenter = augmenter
        self._finish = finish
        self._group_by_length = group_by_length
        if watch:
            self.add_callback(watch)

    def training_step(self, model: PreTrainedModel, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Tensor:
        """Compute the loss and its gradients; both are checked before the weights change."""
        loss: Tensor = super().training_step(model, inputs, num_items_in_batch)
        if self._watch and self._origin:
            self._watch.note(loss, self.state.global_step + 1, self._origin.rows)
            self._watch.note_gradients(self.model, self.state.global_step + 1)
        return loss

    def _get_grad_norm(self, model: PreTrainedModel, grad_norm: Any = None) -> Any:
        norm = super()._get_grad_norm(model, grad_norm)
        if self._watch and isinstance(norm, Tensor):
            self._watch.note_norm(norm, self.state.global_step + 1)
        return norm

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Tensor]:
        prepared: dict[str, Any] = super()._prepare_inputs(inputs)
        self._origin = prepared.pop(ORIGIN, None)
        if self._augmenter and self._origin:
            prepared = augment_inputs(self._augmenter, prepared, self._origin.seeds)
        return self._finish(prepared)

    def _get_train_sampler(self, train_dataset: TrainingClips | None = None) -> Any:
        clips = train_dataset or self.train_dataset
        if not self._group_by_length:
            return super()._get_train_sampler(clips)
        batch_size = self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
        return LengthGroups(clips.lengths(), clips, batch_size, self.args.seed)


class LengthGroups(Sampler[int]):
    """Positions of clips, each once per epoch, with clips of similar length in a batch.

    Drawn from the run's seed and the epoch, so that a resumed training sees the same batches.
    """

    def __init__(self, lengths: Sequence[int], clips: TrainingClips, batch_size: int, seed: int) -> None:
        self._lengths = list(lengths)
        self._clips = clips
        self._batch_size = batch_size
        self._seed = seed

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        seed = stream_seed(self._seed, LENGTHS_STREAM, self._clips.epoch)
        generator = torch.Generator().manual_seed(seed)
        return iter(get_length_grouped_indices(self._lengths, self._batch_size, generator=generator))
