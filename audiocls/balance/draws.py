"""Which training clips an epoch sees, and how often: drawn anew in each, from the run's seed and the epoch alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from audiocls.errors import BalanceError, name_some
from audiocls.params import Oversample, Progressive, Resampled, SquareRoot, Undersample

Labels = Sequence[str] | NDArray[np.object_] | NDArray[np.str_]


def class_counts(labels: Labels) -> dict[str, int]:
    """Count the clips of each class, in the order of the names."""
    names, counts = np.unique(np.asarray(labels, dtype=str), return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))


def wanted_counts(counts: dict[str, int], params: Resampled, progress: float = 1.0) -> dict[str, int]:
    """Say how many clips of each class an epoch sees.

    Args:
        counts: Training clips per class, each >= 1.
        params: The method.
        progress: 0 in the first epoch and 1 in the last; `progressive` alone looks at it.

    Raises:
        BalanceError: There is one class alone, or `counts` of the params does not fit the classes.

    Source:
        Kang et al. 2020, "Decoupling Representation and Classifier for Long-Tailed Recognition", arXiv:1910.09217,
        section 4.1, which also has the square root; that is from Mahajan et al. 2018, arXiv:1805.00932.
    """
    if len(counts) < 2:
        raise BalanceError(
            f"balance.method = {params.method}: all {sum(counts.values())} training clips are of the class "
            f"{name_some(map(repr, counts))}; two classes or more can be balanced."
        )
    sizes = np.array(list(counts.values()), dtype=np.float64)
    match params:
        case Oversample():
            return oversampled_counts(counts, params.ratio, params.counts, "balance")
        case Undersample():
            return undersampled_counts(counts, params.ratio, params.counts)
        case SquareRoot():
            shares = np.sqrt(sizes)
        case Progressive():
            shares = (1 - progress) * sizes / sizes.sum() + progress / len(sizes)
    allotted = apportion(sum(counts.values()), shares)
    return dict(zip(counts, allotted.tolist(), strict=True))


def oversampled_counts(
    counts: dict[str, int], ratio: float | None, asked: dict[str, int] | None, section: str
) -> dict[str, int]:
    """Raise each class to `ratio` of the most frequent one, or to the count asked for it; none loses clips.

    Raises:
        BalanceError: A class that is asked for is not there, or has more clips already.
    """
    if asked is None:
        least = math.ceil(_exactly(ratio) * max(counts.values()))
        return {name: max(count, least) for name, count in counts.items()}
    _require_known(counts, asked, section)
    over = [f"{name!r}: {asked[name]} of {counts[name]}" for name in asked if asked[name] < counts[name]]
    if over:
        raise BalanceError(
            f"{section}.counts asks for fewer clips than there are ({name_some(over)}), and this method only adds. "
            "Ask for as many at least, or take balance.method=undersample."
        )
    return counts | asked


def undersampled_counts(counts: dict[str, int], ratio: float | None, asked: dict[str, int] | None) -> dict[str, int]:
    """Lower each class until the rarest has `ratio` of its clips, or to the count asked for it; none gains clips.

    Raises:
        BalanceError: A class that is asked for is not there, has fewer clips, or would have none left.
    """
    if asked is None:
        most = math.floor(min(counts.values()) / _exactly(ratio))
        return {name: min(count, most) for name, count in counts.items()}
    _require_known(counts, asked, "balance")
    out = [f"{name!r}: {asked[name]} of {counts[name]}" for name in asked if not 1 <= asked[name] <= counts[name]]
    if out:
        raise BalanceError(
            f"balance.counts asks for clips that are not there, or for none ({name_some(out)}). Ask for 1 at least "
            "and for no more than there are, or take balance.method=oversample."
        )
    return counts | asked


def _exactly(ratio: float | None) -> Fraction:
    """Return the ratio as it is written: 0.07 of 100 clips are 7, and with floats 8."""
    return Fraction(1) if ratio is None else Fraction(str(ratio))


def _require_known(counts: dict[str, int], asked: dict[str, int], section: str) -> None:
    unknown = sorted(set(asked) - set(counts))
    if unknown:
        raise BalanceError(
            f"{section}.counts names {name_some(map(repr, unknown))}, of which there are no training clips. "
            f"The classes are {name_some(map(repr, counts))}."
        )


def apportion(total: int, shares: NDArray[np.float64]) -> NDArray[np.int64]:
    """Part `total` in proportion to shares > 0, shape (num_classes,), each >= 1 while there are as many, sum exact."""
    ideal = total * shares / shares.sum()
    parts = np.maximum(np.floor(ideal), 1).astype(np.int64)
    # What is missing goes to the largest remainders; what the least of 1 took too much, comes from the largest parts.
    while parts.sum() > total:
        parts[parts.argmax()] -= 1
    parts[np.argsort(parts - ideal, kind="stable")[: total - parts.sum()]] += 1
    return parts


def draw(labels: Labels, wanted: dict[str, int], rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw clips so that each class has as many as wanted.

    Of a class that is to have more than it has, all clips come as often as that goes evenly, and the rest are drawn
    without repeats; so no clip is seen twice more often than another.

    Returns:
        Positions in `labels`, shape (sum of wanted,), class by class; where nothing is left out, every clip stands in
        it before the first copy of its class.
    """
    names = np.asarray(labels, dtype=str)
    drawn = []
    for name, count in wanted.items():
        members = np.flatnonzero(names == name)
        whole, rest = divmod(count, len(members))
        drawn += [np.tile(members, whole), rng.choice(members, rest, replace=False)]
    return np.concatenate(drawn).astype(np.int64)


class EpochSampler(Sampler[int]):
    """Draws each epoch's clips, in random order.

    What an epoch draws depends on the seed and its number alone, so that a training that is gone on with sees the same.
    Trainer tells it the number by `set_epoch`.
    """

    def __init__(self, labels: Labels, params: Resampled, seed: int, *, epochs: float, max_clips: int | None) -> None:
        """Draw from training clips.

        Args:
            labels: Their classes, shape (num_clips,).
            params: The method.
            seed: The run's.
            epochs: How many there will be, where `max_clips` is None.
            max_clips: Clips that all epochs see together, where the steps are limited and not the epochs.

        Raises:
            BalanceError: As `wanted_counts`; or `progressive` has one epoch alone.
        """
        self._labels = np.asarray(labels, dtype=str)
        self._counts = class_counts(self._labels)
        self._params, self._seed, self._epoch = params, seed, 0
        self._length = sum(wanted_counts(self._counts, params).values())
        self._last = math.ceil(epochs if max_clips is None else max_clips / self._length) - 1
        if isinstance(params, Progressive) and self._last < 1:
            raise BalanceError(
                "balance.method = progressive: goes from the classes as they are to all alike over the epochs, and "
                "there is one. Train for 2 at least, or take square_root or oversample."
            )

    def __len__(self) -> int:
        return self._length

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch is drawn next, from 0."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        """Yield `position + copy * number of clips`, so that copies of a clip can be told apart; the first is 0."""
        rng = np.random.default_rng([self._seed, self._epoch])
        progress = min(1.0, self._epoch / max(1, self._last))
        drawn = draw(self._labels, wanted_counts(self._counts, self._params, progress), rng)
        return iter(rng.permutation(drawn + _copies(drawn) * len(self._labels)).tolist())


def _copies(drawn: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how often each clip has been drawn before, same shape."""
    order = np.argsort(drawn, kind="stable")
    _, first, counts = np.unique(drawn[order], return_index=True, return_counts=True)
    before = np.empty_like(drawn)
    before[order] = np.arange(len(drawn)) - np.repeat(first, counts)
    return before
