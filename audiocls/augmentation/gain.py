"""Level."""

from __future__ import annotations

import torch

from audiocls.augmentation import params
from audiocls.augmentation.sounds import Drawn, Sounds, gain_of, uniform


class Gain:
    """Multiplies each clip; what leaves [-1, 1] is not clipped."""

    def __init__(self, settings: params.Gain) -> None:
        self._settings = settings

    def draw(self, clips: int, generator: torch.Generator) -> Drawn:
        """Draw `gain_db`."""
        return {"gain_db": uniform(clips, self._settings.min_db, self._settings.max_db, generator)}

    def apply(self, sounds: Sounds, drawn: Drawn, generator: torch.Generator) -> Sounds:
        """Multiply."""
        return sounds.sounding(sounds.waveforms * gain_of(drawn["gain_db"]))
