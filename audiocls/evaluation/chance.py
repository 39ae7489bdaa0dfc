"""What chance alone reaches: scores of random parts of the clips, and limits for several scores together."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from audiocls.evaluation.answers import Answers

SIMULATIONS: Final = 1_000
ERROR_RATE: Final = 0.025
"""How often chance alone makes the worst of several scores fail: one side of a 95 % interval."""

_MOST_DRAWN: Final = 5_000_000  # clips in memory at a time


class RandomSlices:
    """Random slices of the clips, as large as a given one and drawn from as few groups.

    A slice has all or some clips of some groups. A random slice has the same number of clips. They come from groups in
    random order, and each group gives as many clips as one group of the given slice does, or all that it has. So a
    slice of whole speakers is compared with whole speakers, and one of a few clips of everybody with the same.
    """

    def __init__(self, answers: Answers, seed: int) -> None:
        """Draw from the clips of `answers`."""
        self._answers = answers
        self._sums = answers.summing()
        self._rng = np.random.default_rng(seed)
        self._group = np.unique(answers.groups, return_inverse=True)[1]
        self._sizes = np.bincount(self._group)
        self._starts = np.cumsum(self._sizes) - self._sizes

    def scores(self, clips_per_group: NDArray[np.int64], draws: int = SIMULATIONS) -> NDArray[np.float64]:
        """Return the scores of random slices, (draws,).

        Args:
            clips_per_group: Clips that the given slice has of each of its groups, (num_groups,).
            draws: Number of random slices.
        """
        size = int(clips_per_group.sum())
        self._by_group = np.lexsort((self._rng.random(len(self._group)), self._group))  # shuffled within each group
        at_a_time = max(1, _MOST_DRAWN // size)
        scores = []
        for start in range(0, draws, at_a_time):
            rows = [self._draw(clips_per_group, size) for _ in range(min(at_a_time, draws - start))]
            scores.append(self._answers.score_sums(self._sums(np.stack(rows))))
        return np.concatenate(scores)

    def _draw(self, clips_per_group: NDArray[np.int64], size: int) -> NDArray[np.int64]:
        """Return the clips of a random slice, (size,)."""
        order = self._rng.permutation(len(self._sizes))
        sizes = self._sizes[order]
        taken = np.minimum(np.resize(self._rng.permutation(clips_per_group), len(sizes)), sizes)
        # If these are too few clips, groups give more of theirs, in the same order.
        taken = taken + _filled(sizes - taken, max(0, size - int(taken.sum())))
        taken = _filled(taken, size)
        used = np.flatnonzero(taken)
        sizes, taken, starts = sizes[used], taken[used], self._starts[order[used]]
        # Of each group the clips from a random place on, in the shuffled order, which is a circle.
        first = (self._rng.random(len(used)) * sizes).astype(np.int64)
        number = np.arange(size) - np.repeat(np.cumsum(taken) - taken, taken)
        place = (np.repeat(first, taken) + number) % np.repeat(sizes, taken)
        rows: NDArray[np.int64] = self._by_group[np.repeat(starts, taken) + place]
        return rows


def _filled(room: NDArray[np.int64], total: int) -> NDArray[np.int64]:
    """Take `total` out of places in their order, from each as much as it has."""
    filled: NDArray[np.int64] = np.clip(total - (np.cumsum(room) - room), 0, room)
    return filled


def lowest_by_chance(
    drawn: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return mean, standard deviation and limit of each score by chance, each (num_scores,).

    A score below its limit fails. The limits hold for all scores together: by chance, at least one score fails in
    ERROR_RATE of all cases. Scores are compared by their distance from the mean in standard deviations, and the limit
    is the quantile of the lowest of these distances over the simulations. This is the single-step method of Westfall
    and Young. With 1,000 simulations, a Bonferroni correction could find nothing among more than 25 scores.

    Args:
        drawn: Scores by chance, shape (num_scores, simulations).

    Source:
        Westfall and Young 1993, "Resampling-Based Multiple Testing", Wiley.
    """
    drawn = np.where(np.isnan(drawn), np.nanmean(drawn, axis=1, keepdims=True), drawn)
    mean, deviation = drawn.mean(axis=1), drawn.std(axis=1)
    lowest = standardised(drawn, mean[:, None], deviation[:, None]).min(axis=0)
    return mean, deviation, mean + np.quantile(lowest, ERROR_RATE) * deviation


def standardised(scores: Any, mean: Any, deviation: Any) -> NDArray[np.float64]:
    """Return distances from the mean in standard deviations; 0 if there is no deviation and no distance."""
    distance = np.where(np.abs(scores - mean) < 1e-12, 0.0, scores - mean)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(distance == 0, 0.0, distance / deviation)
