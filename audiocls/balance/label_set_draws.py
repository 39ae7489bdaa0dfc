"""Draws clips with any number of labels: a clip with a rare label comes more often, with all its labels.

A clip belongs to several classes, so classes cannot be given exact counts. Each clip gets an expected number of draws
instead. Clips without labels count as a class of their own, and no sampler drops them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from audiocls.balance.draws import EpochSampler, oversampled_counts
from audiocls.errors import BalanceError
from audiocls.params import Oversample, Progressive, Resampled

_NONE: Final = ""  # the class of clips without labels; no label is empty
LabelSets = Sequence[Sequence[str]]


def label_counts(sets: LabelSets) -> dict[str, int]:
    """Count the clips with each label, sorted by name."""
    return dict(sorted(Counter(label for labels in sets for label in labels).items()))


def expected_draws(sets: LabelSets, params: Resampled, progress: float = 1.0) -> NDArray[np.float64]:
    """Return how often each clip is drawn in an epoch, in the mean; shape (num_clips,).

    `oversample` repeats a clip as its rarest label needs. `square_root` and `progressive` draw a class first and then
    one of its clips, so that a clip's number is the sum over its labels.

    Args:
        sets: The labels of each clip.
        params: The method.
        progress: 0 in the first epoch and 1 in the last; only used by `progressive`.

    Raises:
        BalanceError: `counts` of the params does not fit the labels, or no clip has a label.

    Source:
        Gupta et al. 2019, "LVIS", arXiv:1908.03195, section B.2, for the factor of the rarest label.
    """
    sets = [tuple(labels) for labels in sets]  # arrays, as pandas reads them, have no truth value
    counts = label_counts(sets)
    if not counts:
        raise BalanceError(f"balance.method = {params.method}: no training clip has a label.")
    if isinstance(params, Oversample):
        wanted = oversampled_counts(counts, params.ratio, params.counts, "balance")
        factors = {name: wanted[name] / count for name, count in counts.items()}
        return np.array([max((factors[label] for label in labels), default=1.0) for labels in sets])
    classes = counts | ({_NONE: alone} if (alone := sum(not labels for labels in sets)) else {})
    sizes = np.array(list(classes.values()), np.float64)
    if isinstance(params, Progressive):
        shares = (1 - progress) * sizes / sizes.sum() + progress / len(sizes)
    else:
        shares = np.sqrt(sizes)
    per_clip = dict(zip(classes, shares / shares.sum() / sizes, strict=True))
    expected = np.array([sum(per_clip[label] for label in (labels or (_NONE,))) for labels in sets])
    scaled: NDArray[np.float64] = expected * len(sets) / expected.sum()
    return scaled


def draw_expected(expected: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw each clip the expected number of times, rounded up or down, and the rounded sum in total.

    Returns:
        Positions, ascending; copies are side by side.
    """
    order = rng.permutation(len(expected))
    # Systematic sampling: steps of 1 through the cumulative sum hit each clip floor or ceil of its expected number.
    edges = np.cumsum(expected[order])
    edges *= round(edges[-1]) / edges[-1]
    hits = np.floor(edges + rng.random())
    times = np.diff(hits, prepend=0).astype(np.int64)
    return np.repeat(order, times)[np.argsort(np.repeat(order, times), kind="stable")]


class LabelSetSampler(EpochSampler):
    """Draws the clips of each epoch by their sets of labels, in random order."""

    def __init__(self, sets: LabelSets, params: Resampled, seed: int, *, epochs: float, max_clips: int | None) -> None:
        """Take the arguments of `EpochSampler`, with the labels of each clip."""
        self._sets = sets
        length = round(float(expected_draws(sets, params).sum()))
        self._set_up(len(sets), length, params, seed, epochs=epochs, max_clips=max_clips)

    def _draw(self, progress: float, rng: np.random.Generator) -> NDArray[np.int64]:
        return draw_expected(expected_draws(self._sets, self._params, progress), rng)
