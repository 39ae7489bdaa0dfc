"""Time and frequency masks, applied to the waveform so that they work with every model family.

Source:
    Park et al. 2019, "SpecAugment", arXiv:1904.08779, which masks spectrograms.
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
    """Silences spans of time."""

    def __init__(self, settings: params.TimeMask, sample_rate_hz: int) -> None:
        self._settings = settings
        self._rate_hz = sample_rate_hz

    def draw(self, draws: Draws) -> Drawn:
        """Draw `seconds` and `place`, the start as a fraction of the possible range, both (clips, spans)."""
        count, longest = self._settings.count, self._settings.max_seconds
        return {"seconds": draws.uniform(0, longest, each=count), "place": draws.uniform(each=count)}

    def apply(self, sounds: Sounds, drawn: Drawn, draws: Draws) -> Sounds:
        """Silence the spans."""
        spans = (drawn["seconds"] * self._rate_hz).round().minimum(sounds.lengths[:, None])
        starts = ((sounds.lengths[:, None] - spans) * drawn["place"]).floor()
        places = torch.arange(sounds.waveforms.shape[1], device=spans.device, dtype=spans.dtype)
        return sounds.sounding(sounds.waveforms * ~_within(places, starts, starts + spans))


class FrequencyMask:
    """Silences frequency bands, drawn uniformly on the mel scale."""

    def __init__(self, settings: params.FrequencyMask, sample_rate_hz: int) -> None:
        self._settings = settings
        self._rate_hz = sample_rate_hz

    def draw(self, draws: Draws) -> Drawn:
        """Draw `width` (of the mel scale) and `place` (of the possible starts), fractions of shape (clips, bands)."""
        count, widest = self._settings.count, self._settings.max_fraction
        return {"width": draws.uniform(0, widest, each=count), "place": draws.uniform(each=count)}

    def apply(self, sounds: Sounds, drawn: Drawn, draws: Draws) -> Sounds:
        """Silence the bands."""
        hz, spectra = spectra_of(sounds, self._rate_hz)
        mels = torch.log1p(hz / 700) / math.log1p(self._rate_hz / 2 / 700)
        starts = (1 - drawn["width"]) * drawn["place"]
        return from_spectra(sounds, spectra * ~_within(mels, starts, starts + drawn["width"]), self._rate_hz)


def _within(places: Tensor, starts: Tensor, stops: Tensor) -> Tensor:
    """Return whether each of (places,) is in any of the (clips, spans), boolean (clips, places)."""
    return ((places >= starts[..., None]) & (places < stops[..., None])).any(1)
