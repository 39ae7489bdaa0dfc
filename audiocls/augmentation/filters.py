"""Zero-phase filters with the attenuation of a Butterworth filter."""

from __future__ import annotations

import torch
from torch import Tensor

from audiocls import params
from audiocls.augmentation.draws import Draws
from audiocls.augmentation.sounds import Drawn, Sounds

# Silence after the clip, so that ringing at one end does not wrap around to the other.
_GUARD_SECONDS = 0.05


class LowPass:
    """Attenuates frequencies above a cutoff."""

    def __init__(self, settings: params.LowPass, sample_rate_hz: int) -> None:
        self._settings = settings
        self._rate_hz = sample_rate_hz

    def draw(self, draws: Draws) -> Drawn:
        """Draw `cutoff_hz`, log-uniformly."""
        return {"cutoff_hz": _octaves(self._settings.min_cutoff_hz, self._settings.max_cutoff_hz, draws)}

    def apply(self, sounds: Sounds, drawn: Drawn, draws: Draws) -> Sounds:
        """Apply the filter."""
        hz, spectra = spectra_of(sounds, self._rate_hz)
        return from_spectra(sounds, spectra * low_pass(hz, drawn["cutoff_hz"], self._settings.order), self._rate_hz)


class HighPass:
    """Attenuates frequencies below a cutoff."""

    def __init__(self, settings: params.HighPass, sample_rate_hz: int) -> None:
        self._settings = settings
        self._rate_hz = sample_rate_hz

    def draw(self, draws: Draws) -> Drawn:
        """Draw `cutoff_hz`, log-uniformly."""
        return {"cutoff_hz": _octaves(self._settings.min_cutoff_hz, self._settings.max_cutoff_hz, draws)}

    def apply(self, sounds: Sounds, drawn: Drawn, draws: Draws) -> Sounds:
        """Apply the filter."""
        hz, spectra = spectra_of(sounds, self._rate_hz)
        return from_spectra(sounds, spectra * high_pass(hz, drawn["cutoff_hz"], self._settings.order), self._rate_hz)


class BandPass:
    """Attenuates frequencies outside a band."""

    def __init__(self, settings: params.BandPass, sample_rate_hz: int) -> None:
        self._settings = settings
        self._rate_hz = sample_rate_hz

    def draw(self, draws: Draws) -> Drawn:
        """Draw `center_hz`, log-uniformly."""
        return {"center_hz": _octaves(self._settings.min_center_hz, self._settings.max_center_hz, draws)}

    def apply(self, sounds: Sounds, drawn: Drawn, draws: Draws) -> Sounds:
        """Apply the filter."""
        hz, spectra = spectra_of(sounds, self._rate_hz)
        half, order = 2 ** (self._settings.width_octaves / 2), self._settings.order
        center_hz = drawn["center_hz"]
        band = high_pass(hz, center_hz / half, order) * low_pass(hz, center_hz * half, order)
        return from_spectra(sounds, spectra * band, self._rate_hz)


def low_pass(hz: Tensor, cutoff_hz: Tensor, order: int) -> Tensor:
    """Return the gains at (bins,) frequencies for (clips,) cutoffs, shape (clips, bins)."""
    return (1 + (hz / cutoff_hz[:, None]).pow(2 * order)).rsqrt()


def high_pass(hz: Tensor, cutoff_hz: Tensor, order: int) -> Tensor:
    """Return the gains at (bins,) frequencies for (clips,) cutoffs, shape (clips, bins)."""
    return (1 + (cutoff_hz[:, None] / hz).pow(2 * order)).rsqrt()  # at 0 Hz this is 1 / infinity


def spectra_of(sounds: Sounds, sample_rate_hz: int) -> tuple[Tensor, Tensor]:
    """Return the frequencies, (bins,), and the clips' spectra, (clips, bins)."""
    size = _size(sounds, sample_rate_hz)
    hz = torch.fft.rfftfreq(size, 1 / sample_rate_hz, device=sounds.waveforms.device)
    return hz, torch.fft.rfft(sounds.waveforms, n=size)


def from_spectra(sounds: Sounds, spectra: Tensor, sample_rate_hz: int) -> Sounds:
    """Return the clips with the samples of modified spectra from `spectra_of`."""
    return sounds.sounding(torch.fft.irfft(spectra, n=_size(sounds, sample_rate_hz)))


def _size(sounds: Sounds, sample_rate_hz: int) -> int:
    size = sounds.waveforms.shape[1] + round(_GUARD_SECONDS * sample_rate_hz)
    return size + -size % 256  # sizes with large prime factors take several times as long


def _octaves(lowest_hz: float, highest_hz: float, draws: Draws) -> Tensor:
    return lowest_hz * (highest_hz / lowest_hz) ** draws.uniform()
