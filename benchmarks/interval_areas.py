"""Simulated scores for the coverage of intervals of AUROC; `benchmarks/intervals.py` runs it.

Two systems score clips of one class against the rest. A score is normal, with effects of the group, of the system and
of the seed, and their interactions: on all clips of a group, and on how far the group's positive clips lie above the
others. The true area is that of clips of different groups, and has a closed form; the true difference is 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from audiocls.metrics.intervals import Jackknife, jackknife_auroc

Floats = NDArray[np.float64]
LOGIT = 1.7  # standard deviations of a clip's score in a logit, about: spreads of seeds are in logits
_MOST_SCORES = 400_000  # at a time


@dataclass(frozen=True, slots=True)
class AreaCorpus:
    """How the clips come, and how hard they are."""

    area: float  # the AUROC of a seed in the middle
    group_spread: float  # standard deviation between groups, where that between clips is 1
    positive: float  # fraction of the clips
    size_spread: float = 0.0  # standard deviation of the logarithm of a group's clips
    mixed: bool = True  # each group has both kinds in one proportion; else mostly one kind
    clips: int = 15  # of a group, in the mean

    @property
    def variance(self) -> float:
        """Return the variance of the difference of two clips' scores, without the seeds'."""
        of_groups = 1.5 * self.group_spread**2  # of the group, the system, and the seed in the group
        return 2 * (1 + of_groups) + of_groups

    @property
    def distance(self) -> float:
        """Return how far the positive clips lie above the others."""
        return float(norm.ppf(self.area) * np.sqrt(self.variance))


AREAS = {
    "areas_even": AreaCorpus(0.8, 0.4, positive=0.5),
    "areas_rare": AreaCorpus(0.85, 0.4, positive=0.2, size_spread=0.8),
    "areas_specialised": AreaCorpus(0.9, 0.3, positive=0.4, size_spread=0.8, mixed=False),
}


def true_area(corpus: AreaCorpus, seed_spread: float) -> float:
    """Return the expected area over all groups and seeds."""
    return float(norm.cdf(corpus.distance / np.sqrt(corpus.variance + (seed_spread / LOGIT) ** 2)))


def simulate_areas(
    corpus: AreaCorpus, trials: int, num_groups: int, num_seeds: int, seed_spread: float, rng: np.random.Generator
) -> list[Jackknife]:
    """Draw the areas of two systems, on several trials that share the sizes of groups and which clips are positive.

    Returns:
        Areas of each system, (trials, seeds) and (trials, seeds, groups).
    """
    sizes = np.full(num_groups, corpus.clips)
    if corpus.size_spread:
        drawn = rng.lognormal(0, corpus.size_spread, num_groups)
        sizes = np.maximum(1, np.round(drawn / drawn.mean() * corpus.clips)).astype(int)
    group = np.repeat(np.arange(num_groups), sizes)
    share = np.full(num_groups, corpus.positive)
    if not corpus.mixed:
        share = rng.beta(corpus.positive, 1 - corpus.positive, num_groups)
    positive = rng.random(len(group)) < share[group]
    positive[:2] = True, False  # both kinds are there
    spread, own = corpus.group_spread, corpus.group_spread / 2

    def effects(*shape: int) -> Floats:
        """Draw the effects of groups on the scores of clips."""
        both, separate = rng.normal(size=(2, *shape, num_groups))
        scores: Floats = both[..., group] + separate[..., group] * positive
        return scores

    shared = spread * effects(trials, 1) + np.sqrt(0.5) * rng.normal(size=(trials, 1, len(group)))
    systems = []
    for _ in range(2):
        of_seeds = seed_spread / LOGIT * rng.normal(size=(trials, num_seeds, 1))
        scores = shared + own * effects(trials, 1) + own * effects(trials, num_seeds)
        scores += np.sqrt(0.5) * rng.normal(size=(trials, num_seeds, len(group)))
        systems.append(jackknife_auroc(scores + positive * (corpus.distance + of_seeds), positive, group))
    return systems


def trials_at_a_time(corpus: AreaCorpus, num_groups: int, num_seeds: int) -> int:
    """Return how many trials share their groups: few enough that a table has many different ones."""
    return max(1, min(25, _MOST_SCORES // (corpus.clips * num_groups * num_seeds)))
