"""Clips made of two, with labels of two: each target is the share of the clip that is of its class.

The targets are probabilities, and cross entropy with class weights
weighs the part of each class by that class's weight.
"""

from __future__ import annotations

import torch

from audiocls import params
from audiocls.augmentation.draws import Draws
from audiocls.augmentation.sounds import Drawn, Sounds, valid_samples


class Mixup:
    """Adds another clip at a share, and as much less of the clip itself.

    Source:
        Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization", arXiv:1710.09412.
    """

    def __init__(self, settings: params.Mixup) -> None:
        self._settings = settings

    def draw(self, draws: Draws) -> Drawn:
        """Draw `share`, of the partner, at most a half."""
        share = draws.beta(self._settings.alpha)
        return {"share": torch.minimum(share, 1 - share)}

    def mix(self, sounds: Sounds, partners: Sounds, drawn: Drawn) -> Sounds:
        """Add; the result is as long as the longer one."""
        share = drawn["share"][:, None]
        waveforms = (1 - share) * sounds.waveforms + share * partners.waveforms
        targets = (1 - share) * sounds.targets + share * partners.targets
        return Sounds(waveforms, torch.maximum(sounds.lengths, partners.lengths), targets)


class Cutmix:
    """Puts a span of another clip at its place into the clip.

    Source:
        Yun et al. 2019, "CutMix", arXiv:1905.04899, which does it to pictures.
    """

    def __init__(self, settings: params.Cutmix) -> None:
        self._settings = settings

    def draw(self, draws: Draws) -> Drawn:
        """Draw `share`, the span's of the clip, and `place`, a share of where it may begin."""
        return {"share": draws.beta(self._settings.alpha), "place": draws.uniform()}

    def mix(self, sounds: Sounds, partners: Sounds, drawn: Drawn) -> Sounds:
        """Put in; the span is no longer than the partner, and the label says what was put in."""
        spans = (drawn["share"] * sounds.lengths).round().long().minimum(partners.lengths)
        room = torch.minimum(sounds.lengths, partners.lengths) - spans
        starts = (drawn["place"] * (room + 1)).long().minimum(room)
        samples = sounds.waveforms.shape[1]
        inside = valid_samples(starts + spans, samples) & ~valid_samples(starts, samples)
        share = (spans / sounds.lengths.clamp(min=1))[:, None]
        targets = (1 - share) * sounds.targets + share * partners.targets
        return Sounds(torch.where(inside, partners.waveforms, sounds.waveforms), sounds.lengths, targets)
