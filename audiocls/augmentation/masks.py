"""Spans of time and bands of frequency that are silenced, in the waveform: every family of models hears them so.

Source:
    Park et al. 2019, "SpecAugment", arXiv:1904.08779, which does it to spectrograms.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from audiocls import params
from audiocls.augmentation.draws import Draws
from audiocls.augmentation.filters import from_spectra, spectra_of
from audiocls.augmentation.sounds import Drawn, Sounds


class TimeMask:
    """Silences spans."""

    def __init__(self, settings: params.TimeMask, sample_rate_hz: int) -> None:
        self._settings = settings
        self._rate_hz = sample_rate_hz

    def draw(self, draws: Draws) -> Drawn:
        """Draw `seconds`, and `place`, a share of where the span may begin, both (clips, spans)."""
        count, longest = self._settings.count, self._settings.max_seconds
        return {"seconds": draws.uniform(0, longest, each=count), "place": draws.uniform(each=count)}

    def apply(self, sounds: Sounds, drawn: Drawn, draws: Draws) -> Sounds:
        """Silence."""
        spans = (drawn["seconds"] * self._rate_hz).round().minimum(sounds.lengths[:, None])
        starts = ((sounds.lengths[:, None] - spans) * drawn["place"]).floor()
        places = torch.arange(sounds.waveforms.shape[1], device=spans.device, dtype=spans.dtype)
        return sounds.sounding(sounds.waveforms * ~_within(places, starts, starts + spans))


class FrequencyMask:
    """Silences bands, as wide at the bottom as at the top for the ear: on the mel scale."""

    def __init__(self, settings: params.FrequencyMask, sample_rate_hz: int) -> None:
        self._settings = settings
        self._rate_hz = sample_rate_hz

    def draw(self, draws: Draws) -> Drawn:
        """Draw `width`, a share of the mel scale, and `place`, a share of where it may begin, both (clips, bands)."""
        count, widest = self._settings.count, self._settings.max_fraction
        return {"width": draws.uniform(0, widest, each=count), "place": draws.uniform(each=count)}

    def apply(self, sounds: Sounds, drawn: Drawn, draws: Draws) -> Sounds:
        """Silence."""
        hz, spectra = spectra_of(sounds, self._rate_hz)
        mels = torch.log1p(hz / 700) / math.log1p(self._rate_hz / 2 / 700)
        starts = (1 - drawn["width"]) * drawn["place"]
        return from_spectra(sounds, spectra * ~_within(mels, starts, starts + drawn["width"]), self._rate_hz)


def _within(places: Tensor, starts: Tensor, stops: Tensor) -> Tensor:
    """Say of each of (places,) whether it is in any of the (clips, spans): boolean (clips, places)."""
    return ((places >= starts[..., None]) & (places < stops[..., None])).any(1)
