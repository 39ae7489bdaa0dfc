"""Mixtures of two clips with soft labels: each target is the fraction of the clip that belongs to the class.

The targets are probabilities. Cross-entropy with class weights weights the part of each class by that class's weight.
Of clips with any number of labels, each label's target is mixed in the same way, as by Kong et al. 2020, "PANNs",
arXiv:1912.10211; a label that is unknown in either clip is unknown in the mixture.
"""

from __future__ import annotations

import torch

from audiocls import params
from audiocls.augmentation.draws import Draws
from audiocls.augmentation.sounds import Drawn, Sounds, valid_samples


class Mixup:
    """Replaces each clip with a weighted sum of it and a partner.

    Source:
        Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization", arXiv:1710.09412.
    """

    def __init__(self, settings: params.Mixup) -> None:
        self._settings = settings

    def draw(self, draws: Draws) -> Drawn:
        """Draw `share`, the fraction of the partner, at most 0.5."""
        share = draws.beta(self._settings.alpha)
        return {"share": torch.minimum(share, 1 - share)}

    def mix(self, sounds: Sounds, partners: Sounds, drawn: Drawn) -> Sounds:
        """Mix; the result is as long as the longer clip."""
        share = drawn["share"][:, None]
        waveforms = (1 - share) * sounds.waveforms + share * partners.waveforms
        targets = (1 - share) * sounds.targets + share * partners.targets
        return Sounds(waveforms, torch.maximum(sounds.lengths, partners.lengths), targets)


class Cutmix:
    """Replaces a span of each clip with the same span of a partner.

    Source:
        Yun et al. 2019, "CutMix", arXiv:1905.04899, which does this with images.
    """

    def __init__(self, settings: params.Cutmix) -> None:
        self._settings = settings

    def draw(self, draws: Draws) -> Drawn:
        """Draw `share`, the fraction of the clip to replace, and `place`, the start as a fraction of its range."""
        return {"share": draws.beta(self._settings.alpha), "place": draws.uniform()}

    def mix(self, sounds: Sounds, partners: Sounds, drawn: Drawn) -> Sounds:
        """Replace the span, at most as long as the partner; the targets match what was replaced."""
        spans = (drawn["share"] * sounds.lengths).round().long().minimum(partners.lengths)
        room = torch.minimum(sounds.lengths, partners.lengths) - spans
        starts = (drawn["place"] * (room + 1)).long().minimum(room)
        samples = sounds.waveforms.shape[1]
        inside = valid_samples(starts + spans, samples) & ~valid_samples(starts, samples)
        share = (spans / sounds.lengths.clamp(min=1))[:, None]
        targets = (1 - share) * sounds.targets + share * partners.targets
        return Sounds(torch.where(inside, partners.waveforms, sounds.waveforms), sounds.lengths, targets)
