"""Noise at a given signal-to-noise ratio."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from audiocls import params
from audiocls.augmentation.draws import Draws
from audiocls.augmentation.sounds import Drawn, Sounds, gain_of


class Noise:
    """Adds white or pink noise."""

    def __init__(self, settings: params.Noise) -> None:
        self._settings = settings

    def draw(self, draws: Draws) -> Drawn:
        """Draw `snr_db`."""
        return {"snr_db": draws.uniform(self._settings.min_snr_db, self._settings.max_snr_db)}

    def apply(self, sounds: Sounds, drawn: Drawn, draws: Draws) -> Sounds:
        """Add noise of the clips' own lengths."""
        noise = draws.normal(sounds.waveforms.shape[1])
        if self._settings.colour == "pink":
            noise = _pink(noise)
        return add_noise(sounds, noise, drawn["snr_db"])


class Background:
    """Adds an excerpt of a recording; a recording shorter than the clip is repeated."""

    def __init__(self, settings: params.Background, recordings: Sequence[Tensor]) -> None:
        """Take recordings of shape (samples,), at the clips' rate."""
        self._settings = settings
        self._recordings = recordings

    def draw(self, draws: Draws) -> Drawn:
        """Draw `recording`, an index, `start`, a fraction of the possible range, and `snr_db`."""
        return {
            "recording": draws.whole(0, len(self._recordings)),
            "start": draws.uniform(),
            "snr_db": draws.uniform(self._settings.min_snr_db, self._settings.max_snr_db),
        }

    def apply(self, sounds: Sounds, drawn: Drawn, draws: Draws) -> Sounds:
        """Add the excerpts."""
        samples = sounds.waveforms.shape[1]
        chosen = zip(drawn["recording"].tolist(), drawn["start"].tolist(), strict=True)
        parts = [_part(self._recordings[number], start, samples) for number, start in chosen]
        return add_noise(sounds, torch.stack(parts).to(sounds.waveforms.device), drawn["snr_db"])


def add_noise(sounds: Sounds, noise: Tensor, snr_db: Tensor) -> Sounds:
    """Add noise, (clips, samples), such that each clip's mean power is `snr_db`, (clips,), above that of its noise.

    If the clip or its noise is silent, nothing is added: no level gives that ratio.
    """
    noise_levels = sounds.sounding(noise).levels()
    wanted = sounds.levels() / gain_of(snr_db)
    scale = torch.where(noise_levels > 0, wanted / noise_levels, 0.0)
    return sounds.sounding(sounds.waveforms + scale * noise)


def _pink(white: Tensor) -> Tensor:
    """Shape white noise, (clips, samples), so that its power falls with 1 / frequency."""
    spectrum = torch.fft.rfft(white)
    falling = torch.arange(spectrum.shape[1], device=white.device).clamp(min=1).rsqrt()
    falling[0] = 0.0  # no DC
    return torch.fft.irfft(spectrum * falling, n=white.shape[1])


def _part(recording: Tensor, start: float, samples: int) -> Tensor:
    if len(recording) < samples:
        recording = recording.repeat(-(-samples // len(recording)))
    first = int(start * (len(recording) - samples + 1))
    return recording[first : first + samples]
