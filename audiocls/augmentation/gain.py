"""Random gain."""

from __future__ import annotations

from audiocls import params
from audiocls.augmentation.draws import Draws
from audiocls.augmentation.sounds import Drawn, Sounds, gain_of


class Gain:
    """Multiplies each clip by a gain; values outside [-1, 1] are not clipped."""

    def __init__(self, settings: params.Gain) -> None:
        self._settings = settings

    def draw(self, draws: Draws) -> Drawn:
        """Draw `gain_db`."""
        return {"gain_db": draws.uniform(self._settings.min_db, self._settings.max_db)}

    def apply(self, sounds: Sounds, drawn: Drawn, draws: Draws) -> Sounds:
        """Apply the gain."""
        return sounds.sounding(sounds.waveforms * gain_of(drawn["gain_db"]))
