"""Place in time."""

from __future__ import annotations

import torch

from audiocls.augmentation import params
from audiocls.augmentation.sounds import Drawn, Sounds, uniform


class Shift:
    """Moves each clip later or earlier within its length."""

    def __init__(self, settings: params.Shift, sample_rate_hz: int) -> None:
        self._settings = settings
        self._rate_hz = sample_rate_hz

    def draw(self, clips: int, generator: torch.Generator) -> Drawn:
        """Draw `samples`; above 0 is later."""
        most = self._settings.max_seconds * self._rate_hz
        return {"samples": uniform(clips, -most, most, generator).round().long()}

    def apply(self, sounds: Sounds, drawn: Drawn, generator: torch.Generator) -> Sounds:
        """Move."""
        length = sounds.lengths[:, None]
        origin = torch.arange(sounds.waveforms.shape[1], device=length.device) - drawn["samples"][:, None]
        moved = sounds.waveforms.gather(1, origin.remainder(length.clamp(min=1)))
        if not self._settings.wrap:
            moved = moved * ((origin >= 0) & (origin < length))
        return sounds.sounding(moved)
