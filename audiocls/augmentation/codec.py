"""Codec degradation: limited bandwidth and quantization."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from audiocls import params
from audiocls.augmentation.draws import Draws
from audiocls.augmentation.filters import from_spectra, low_pass, spectra_of
from audiocls.augmentation.sounds import Drawn, Sounds

_MU = 255.0  # of G.711
_STEEP = 12  # 72 dB per octave, as at the edge of a telephone band


class Codec:
    """Limits the bandwidth and quantizes to few bits, by mu-law or evenly; full scale is 1, or a louder clip's peak."""

    def __init__(self, settings: params.Codec, sample_rate_hz: int) -> None:
        self._settings = settings
        self._rate_hz = sample_rate_hz

    def draw(self, draws: Draws) -> Drawn:
        """Draw `bits`."""
        return {"bits": draws.whole(self._settings.min_bits, self._settings.max_bits + 1)}

    def apply(self, sounds: Sounds, drawn: Drawn, draws: Draws) -> Sounds:
        """Limit the bandwidth and quantize."""
        if self._settings.bandwidth_hz is not None:
            hz, spectra = spectra_of(sounds, self._rate_hz)
            edge = low_pass(hz, hz.new_full((1,), self._settings.bandwidth_hz), _STEEP)
            sounds = from_spectra(sounds, spectra * edge, self._rate_hz)
        full_scale = sounds.waveforms.abs().amax(1, keepdim=True).clamp(min=1)
        within = sounds.waveforms / full_scale
        steps = torch.pow(2.0, drawn["bits"] - 1)[:, None] - 1
        if self._settings.companding == "mu_law":
            within = _expand(_round(_compress(within), steps))
        else:
            within = _round(within, steps)
        return sounds.sounding(within * full_scale)


def _round(values: Tensor, steps: Tensor) -> Tensor:
    return (values * steps).round() / steps


def _compress(values: Tensor) -> Tensor:
    return values.sign() * torch.log1p(_MU * values.abs()) / math.log1p(_MU)


def _expand(values: Tensor) -> Tensor:
    return values.sign() * torch.expm1(values.abs() * math.log1p(_MU)) / _MU
