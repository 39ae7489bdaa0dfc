"""Shifts in time."""

from __future__ import annotations

import torch

from audiocls import params
from audiocls.augmentation.draws import Draws
from audiocls.augmentation.sounds import Drawn, Sounds


class Shift:
    """Moves each clip later or earlier within its length."""

    def __init__(self, settings: params.Shift, sample_rate_hz: int) -> None:
        self._settings = settings
        self._rate_hz = sample_rate_hz

    def draw(self, draws: Draws) -> Drawn:
        """Draw `samples`; above 0 is later."""
        most = self._settings.max_seconds * self._rate_hz
        return {"samples": draws.uniform(-most, most).round().long()}

    def apply(self, sounds: Sounds, drawn: Drawn, draws: Draws) -> Sounds:
        """Shift the clips."""
        length = sounds.lengths[:, None]
        origin = torch.arange(sounds.waveforms.shape[1], device=length.device) - drawn["samples"][:, None]
        moved = sounds.waveforms.gather(1, origin.remainder(length.clamp(min=1)))
        if not self._settings.wrap:
            moved = moved * ((origin >= 0) & (origin < length))
        return sounds.sounding(moved)
