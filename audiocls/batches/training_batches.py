"""Batches of training clips: with their origin, augmented, and determined by the run's seed and the epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from audiocls.augmentation import Augmenter, clip_seeds, valid_samples
from audiocls.batches.dataset import LENGTHS, WAVEFORMS, ClipDataset, Collator, Example, WaveformBatch
from audiocls.batches.lengths import longest_samples
from audiocls.params import RunParams

ORIGIN: Final = "origin"
"""The key of a batch's `Origin` among its inputs; `BatchTrainer` pops it before the forward pass."""

# Distinct numbers, so that the stages draw from different streams.
AUGMENTATION_STREAM, LENGTHS_STREAM = 1, 2


@dataclass(frozen=True, slots=True)
class Origin:
    """The clips, or windows of them, and the augmentation seeds of a training batch."""

    rows: tuple[int, ...]  # positions of the clips in the training clips
    seeds: tuple[int, ...]  # augmentation seed of each clip or window


@dataclass(frozen=True, slots=True)
class TrainingBatch:
    """Training clips of one batch."""

    examples: list[Example] | WaveformBatch
    origin: Origin


class TrainingClips(Dataset[Example]):
    """A `ClipDataset` whose batches carry their origin."""

    def __init__(self, clips: ClipDataset, seed: int, clip: NDArray[np.int64] | None = None) -> None:
        """Serve clips, or windows of them.

        Args:
            clips: The clips, or windows.
            seed: The run's seed.
            clip: Position of each window's clip in the training clips, (num_windows,); None: `clips` are whole.
        """
        self._clips = clips
        self._seed = seed
        self._clip = clip
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next batches, from 0."""
        self.epoch = epoch
        self._clips.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self._clips)

    def lengths(self) -> list[int]:
        """Return the length of each clip before augmentation, in samples."""
        return self._clips.lengths()

    def __getitem__(self, index: int) -> Example:
        """Return one clip, without its origin."""
        return self._clips[index]

    def __getitems__(self, indices: Sequence[int]) -> TrainingBatch:
        """Return several clips; torch's DataLoader calls this for each batch."""
        # The seeds depend only on the clip, the copy and the epoch, so that they are the same if training is resumed,
        # prefetches, or runs in several processes.
        seeds = clip_seeds(stream_seed(self._seed, AUGMENTATION_STREAM, self.epoch), indices).tolist()
        served = np.asarray(indices) % len(self)
        rows = tuple((served if self._clip is None else self._clip[served]).tolist())
        return TrainingBatch(self._clips.__getitems__(indices), Origin(rows, tuple(seeds)))


def stream_seed(*numbers: int) -> int:
    """Make one seed out of several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


def build_augmenter(params: RunParams, num_classes: int) -> Augmenter | None:
    """Build the transforms of training clips; None if there are none."""
    if not params.augmentation:
        return None
    return Augmenter(
        params.augmentation,
        sample_rate_hz=params.audio.sample_rate_hz,
        max_samples=longest_samples(params.audio),
        num_classes=num_classes,
    )


class TrainingCollator:
    """A `Collator` that augments training clips and adds their origin; other clips are unchanged."""

    def __init__(self, collator: Collator, augmenter: Augmenter | None, *, leave_to_device: bool) -> None:
        """Wrap a collator.

        Args:
            collator: Computes the model's inputs from waveforms.
            augmenter: Transforms the waveforms first.
            leave_to_device: Leave augmentation to `augment_inputs`, on the model's device, which is faster. The
                batches must hold waveforms.
        """
        self._collator = collator
        self._augmenter = None if leave_to_device else augmenter

    def __call__(self, batch: TrainingBatch | list[Example] | WaveformBatch) -> dict[str, Any]:
        """Return the inputs of the family, each (batch, ...), with `labels` and the origin of training clips."""
        if not isinstance(batch, TrainingBatch):
            return dict(self._collator(batch))
        if self._augmenter is None or not isinstance(batch.examples, WaveformBatch):
            return self._collator(batch.examples) | {ORIGIN: batch.origin}
        changed, targets = augment_batch(self._augmenter, batch.examples, batch.origin.seeds)
        return self._collator(changed) | {"labels": targets, ORIGIN: batch.origin}


def augment_batch(augmenter: Augmenter, batch: WaveformBatch, seeds: Sequence[int]) -> tuple[WaveformBatch, Tensor]:
    """Augment on the CPU; return the clips and their targets, as in `augment_inputs`."""
    targets = torch.from_numpy(batch.targets)
    sounds = augmenter(torch.from_numpy(batch.waveforms), torch.from_numpy(batch.lengths), targets, torch.tensor(seeds))
    longest = int(sounds.lengths.max())
    changed = replace(batch, waveforms=sounds.waveforms[:, :longest].numpy(), lengths=sounds.lengths.numpy())
    return changed, sounds.targets if augmenter.mixes else targets


def augment_inputs(augmenter: Augmenter, inputs: dict[str, Tensor], seeds: Sequence[int]) -> dict[str, Tensor]:
    """Augment waveforms on their device.

    Args:
        augmenter: The transforms.
        inputs: `waveforms` (batch, samples) and their `lengths`, from which the inputs are computed later; or
            `input_values` and `attention_mask`, both (batch, samples); and `labels`, class indices (batch,).
        seeds: Seeds of the clips.

    Returns:
        The same keys; with a transform that mixes clips, `labels` are probabilities, (batch, classes).
    """
    if WAVEFORMS in inputs:
        sounds = augmenter(inputs[WAVEFORMS], inputs[LENGTHS], inputs["labels"], torch.tensor(seeds))
        labels = sounds.targets if augmenter.mixes else inputs["labels"]
        return inputs | {WAVEFORMS: sounds.waveforms, LENGTHS: sounds.lengths, "labels": labels}
    lengths = inputs["attention_mask"].sum(1).long()
    sounds = augmenter(inputs["input_values"], lengths, inputs["labels"], torch.tensor(seeds))
    mask = valid_samples(sounds.lengths, sounds.waveforms.shape[1]).to(inputs["attention_mask"].dtype)
    labels = sounds.targets if augmenter.mixes else inputs["labels"]
    return inputs | {"input_values": sounds.waveforms, "attention_mask": mask, "labels": labels}


class PassCounter(TrainerCallback):  # type: ignore[misc]  # transformers has no types
    """Set the epoch of the training clips; accelerate does this only with a single process."""

    def __init__(self, clips: TrainingClips) -> None:
        self._clips = clips

    def on_epoch_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Count completed epochs; a resumed epoch is not complete."""
        self._clips.set_epoch(math.floor((state.epoch or 0.0) + 1e-6))
