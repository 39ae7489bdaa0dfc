"""The transforms of a run in order; draws which clips each one changes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from audiocls import params
from audiocls.augmentation.codec import Codec
from audiocls.augmentation.draws import Draws
from audiocls.augmentation.filters import BandPass, HighPass, LowPass
from audiocls.augmentation.gain import Gain
from audiocls.augmentation.masks import FrequencyMask, TimeMask
from audiocls.augmentation.mixing import Cutmix, Mixup
from audiocls.augmentation.noise import Background, Noise
from audiocls.augmentation.recordings import read_recordings
from audiocls.augmentation.reverb import ImpulseResponse, Reverb
from audiocls.augmentation.shift import Shift
from audiocls.augmentation.sounds import Mix, Sounds, Transform
from audiocls.augmentation.speed import Pitch, Speed


class Augmenter:
    """Applies a list of transforms to batches of training clips, on their device."""

    def __init__(
        self, settings: Sequence[params.AnyAugmentation], *, sample_rate_hz: int, max_samples: int, num_classes: int
    ) -> None:
        """Build the transforms, and read the folders that they name.

        Args:
            settings: One section per transform, in the order of application.
            sample_rate_hz: Sample rate of the clips.
            max_samples: Length of the model's input; no clip becomes longer.
            num_classes: Number of columns of the targets.

        Raises:
            DataError: A folder has no usable recordings.
        """
        self._steps = [(step.probability, build(step, sample_rate_hz, max_samples)) for step in settings]
        self._num_classes = num_classes
        self.mixes = any(isinstance(transform, Mix) for _, transform in self._steps)

    def __call__(self, waveforms: Tensor, lengths: Tensor, targets: Tensor, seeds: Tensor) -> Sounds:
        """Transform clips as determined by their seeds, independent of the rest of the batch.

        There are two exceptions. A mixture depends on its partner, which is a clip of the batch. And filters, pink
        noise and other uses of a Fourier transform may give slightly different samples beside a longer clip, to whose
        length all clips are padded.

        Args:
            waveforms: Shape (clips, samples), float32, zero-padded after each clip.
            lengths: Shape (clips,), in samples.
            targets: Class indices, shape (clips,); or what is known of each label, (clips, num_classes).
            seeds: Seeds of the clips from `clip_seeds`, (clips,) int64 on the CPU; they determine all random numbers.
        """
        known = targets if targets.ndim == 2 else F.one_hot(targets, self._num_classes).float()
        sounds = Sounds(waveforms, lengths, known)
        draws = Draws(seeds)
        for number, (probability, transform) in enumerate(self._steps):
            # Each step has its own draws, so that clips skipped by one transform do not change the draws of the next.
            sounds = _step(sounds, probability, transform, draws.step(number))
        return sounds


def build(settings: params.AnyAugmentation, sample_rate_hz: int, max_samples: int) -> Transform | Mix:
    """Build one transform."""
    match settings:
        case params.Gain():
            return Gain(settings)
        case params.Noise():
            return Noise(settings)
        case params.Background():
            return Background(settings, read_recordings(settings.folder, sample_rate_hz, settings.leave_out))
        case params.Shift():
            return Shift(settings, sample_rate_hz)
        case params.Speed():
            return Speed(settings, max_samples)
        case params.Pitch():
            return Pitch(settings, sample_rate_hz)
        case params.Reverb():
            return Reverb(settings, sample_rate_hz)
        case params.ImpulseResponse():
            return ImpulseResponse(read_recordings(settings.folder, sample_rate_hz, settings.leave_out), sample_rate_hz)
        case params.LowPass():
            return LowPass(settings, sample_rate_hz)
        case params.HighPass():
            return HighPass(settings, sample_rate_hz)
        case params.BandPass():
            return BandPass(settings, sample_rate_hz)
        case params.Codec():
            return Codec(settings, sample_rate_hz)
        case params.TimeMask():
            return TimeMask(settings, sample_rate_hz)
        case params.FrequencyMask():
            return FrequencyMask(settings, sample_rate_hz)
        case params.Mixup():
            return Mixup(settings)
        case params.Cutmix():
            return Cutmix(settings)


def _step(sounds: Sounds, probability: float, transform: Transform | Mix, draws: Draws) -> Sounds:
    """Apply one transform to the clips that it is drawn for."""
    device = sounds.waveforms.device
    rows = (draws.uniform() < probability).nonzero()[:, 0]
    order = draws.uniform().argsort()
    partner = torch.empty_like(order).scatter(0, order, order.roll(1))  # one cycle, so that no clip is its own partner
    drawn = {name: values[rows].to(device) for name, values in transform.draw(draws).items()}
    if not len(rows):
        return sounds
    rows_there = rows.to(device)
    chosen = sounds.take(rows_there)
    if isinstance(transform, Mix):
        return sounds.put(rows_there, transform.mix(chosen, sounds.take(partner[rows].to(device)), drawn))
    return sounds.put(rows_there, transform.apply(chosen, drawn, draws.take(rows, device)))
