"""A batch of waveforms with their labels, and the interfaces of transforms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional as F

from audiocls.augmentation.draws import Draws

Drawn = dict[str, Tensor]
"""The random numbers of a transform by name, each (clips, ...)."""


@dataclass(frozen=True, slots=True)
class Sounds:
    """Clips of a batch; all tensors are on one device."""

    waveforms: Tensor  # (clips, samples of the longest) float32, zero-padded
    lengths: Tensor  # (clips,) int64, in samples
    targets: Tensor  # (clips, classes) float32, each row sums to 1

    def take(self, rows: Tensor) -> Sounds:
        """Return some of the clips."""
        return Sounds(self.waveforms[rows], self.lengths[rows], self.targets[rows])

    def put(self, rows: Tensor, changed: Sounds) -> Sounds:
        """Return all clips, with those of `rows` replaced."""
        samples = max(self.waveforms.shape[1], changed.waveforms.shape[1])
        waveforms = fit_samples(self.waveforms, samples).clone()
        lengths, targets = self.lengths.clone(), self.targets.clone()
        waveforms[rows] = fit_samples(changed.waveforms, samples)
        lengths[rows] = changed.lengths
        targets[rows] = changed.targets
        return Sounds(waveforms, lengths, targets)

    def sounding(self, waveforms: Tensor) -> Sounds:
        """Return the same clips with new samples, (clips, samples or more); the padding stays silent."""
        kept = waveforms[:, : self.waveforms.shape[1]]
        return Sounds(kept * valid_samples(self.lengths, kept.shape[1]), self.lengths, self.targets)

    def levels(self) -> Tensor:
        """Return the root mean square of each clip, shape (clips, 1)."""
        return (self.waveforms.square().sum(1) / self.lengths.clamp(min=1)).sqrt()[:, None]


def at_levels_of(sounds: Sounds, changed: Sounds) -> Sounds:
    """Restore the original levels of changed clips; silent clips stay silent."""
    levels = changed.levels()
    return changed.sounding(changed.waveforms * torch.where(levels > 0, sounds.levels() / levels, 0.0))


class Transform(Protocol):
    """Changes clips. All random numbers come from `draw`, except for dense noise."""

    def draw(self, draws: Draws) -> Drawn:
        """Draw each clip's random numbers, on the CPU."""

    def apply(self, sounds: Sounds, drawn: Drawn, draws: Draws) -> Sounds:
        """Change all clips; `draws` is on their device, and only for noise of their size."""


@runtime_checkable
class Mix(Protocol):
    """Mixes clips with others of their batch."""

    def draw(self, draws: Draws) -> Drawn:
        """Draw each clip's random numbers, on the CPU."""

    def mix(self, sounds: Sounds, partners: Sounds, drawn: Drawn) -> Sounds:
        """Mix each clip with its partner."""


def valid_samples(lengths: Tensor, samples: int) -> Tensor:
    """Return (clips, samples), True where a sample is within its clip's length."""
    return torch.arange(samples, device=lengths.device) < lengths[:, None]


def fit_samples(waveforms: Tensor, samples: int) -> Tensor:
    """Cut or zero-pad the last dimension."""
    return F.pad(waveforms, (0, samples - waveforms.shape[-1]))


def gain_of(decibels: Tensor) -> Tensor:
    """Convert decibels, (clips,), to amplitudes, shape (clips, 1)."""
    return torch.pow(10.0, decibels / 20)[:, None]
