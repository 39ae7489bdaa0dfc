"""Draws the training clips of each epoch. A draw depends only on the run's seed and the epoch."""

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
    """Count the clips of each class, sorted by name."""
    names, counts = np.unique(np.asarray(labels, dtype=str), return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))


def wanted_counts(counts: dict[str, int], params: Resampled, progress: float = 1.0) -> dict[str, int]:
    """Return how many clips of each class an epoch has.

    Args:
        counts: Training clips per class, each >= 1.
        params: The method.
        progress: 0 in the first epoch and 1 in the last; only used by `progressive`.

    Raises:
        BalanceError: There is only one class, or `counts` of the params does not fit the classes.

    Source:
        Kang et al. 2020, "Decoupling Representation and Classifier for Long-Tailed Recognition", arXiv:1910.09217,
        section 4.1; the square root is from Mahajan et al. 2018, arXiv:1805.00932.
    """
    if len(counts) < 2:
        raise BalanceError(
            f"balance.method = {params.method}: all {sum(counts.values())} training clips are of the class "
            f"{name_some(map(repr, counts))}; balancing needs at least two classes."
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
    """Oversample each class to `ratio` of the most frequent one, or to its requested count.

    Raises:
        BalanceError: A requested class does not exist, or already has more clips.
    """
    if asked is None:
        least = math.ceil(_as_fraction(ratio) * max(counts.values()))
        return {name: max(count, least) for name, count in counts.items()}
    _require_known(counts, asked, section)
    over = [f"{name!r}: {asked[name]} of {counts[name]}" for name in asked if asked[name] < counts[name]]
    if over:
        raise BalanceError(
            f"{section}.counts asks for fewer clips than there are ({name_some(over)}), and this method only adds "
            "clips. Raise these counts, or use balance.method=undersample."
        )
    return counts | asked


def undersampled_counts(counts: dict[str, int], ratio: float | None, asked: dict[str, int] | None) -> dict[str, int]:
    """Undersample each class until the rarest has `ratio` of its clips, or to its requested count.

    Raises:
        BalanceError: A requested class does not exist, has fewer clips, or would have none left.
    """
    if asked is None:
        most = math.floor(min(counts.values()) / _as_fraction(ratio))
        return {name: min(count, most) for name, count in counts.items()}
    _require_known(counts, asked, "balance")
    out = [f"{name!r}: {asked[name]} of {counts[name]}" for name in asked if not 1 <= asked[name] <= counts[name]]
    if out:
        raise BalanceError(
            f"balance.counts asks for more clips than there are, or for none ({name_some(out)}). Ask for at least 1 "
            "and for no more than there are, or use balance.method=oversample."
        )
    return counts | asked


def _as_fraction(ratio: float | None) -> Fraction:
    """Return the ratio as the exact decimal: 0.07 of 100 clips is 7, but rounds up to 8 with floats."""
    return Fraction(1) if ratio is None else Fraction(str(ratio))


def _require_known(counts: dict[str, int], asked: dict[str, int], section: str) -> None:
    unknown = sorted(set(asked) - set(counts))
    if unknown:
        raise BalanceError(
            f"{section}.counts names {name_some(map(repr, unknown))}, which have no training clips. "
            f"The classes are {name_some(map(repr, counts))}."
        )


def apportion(total: int, shares: NDArray[np.float64]) -> NDArray[np.int64]:
    """Divide `total` in proportion to `shares` > 0, shape (num_classes,).

    The parts sum to `total` exactly, and each is >= 1 if `total` allows it.
    """
    ideal = total * shares / shares.sum()
    parts = np.maximum(np.floor(ideal), 1).astype(np.int64)
    # The rest goes to the largest remainders; what the minimum of 1 adds too much is taken from the largest parts.
    while parts.sum() > total:
        parts[parts.argmax()] -= 1
    parts[np.argsort(parts - ideal, kind="stable")[: total - parts.sum()]] += 1
    return parts


def draw(labels: Labels, wanted: dict[str, int], rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw clips so that each class has the wanted count.

    An oversampled class repeats all its clips equally often and draws the rest without replacement: how often two of
    its clips are drawn differs by at most one.

    Returns:
        Positions in `labels`, shape (sum of wanted,), class by class. In an oversampled class, every clip comes before
        the first copy.
    """
    names = np.asarray(labels, dtype=str)
    drawn = []
    for name, count in wanted.items():
        members = np.flatnonzero(names == name)
        whole, rest = divmod(count, len(members))
        drawn += [np.tile(members, whole), rng.choice(members, rest, replace=False)]
    return np.concatenate(drawn).astype(np.int64)


class EpochSampler(Sampler[int]):
    """Draws the clips of each epoch, in random order.

    The draw depends only on the seed and the epoch number, so that a resumed training sees the same clips. Trainer sets
    the number with `set_epoch`.
    """

    def __init__(self, labels: Labels, params: Resampled, seed: int, *, epochs: float, max_clips: int | None) -> None:
        """Draw from training clips.

        Args:
            labels: Their classes, shape (num_clips,).
            params: The method.
            seed: The run's seed.
            epochs: Number of epochs, if `max_clips` is None.
            max_clips: Total clips of all epochs, if the number of steps is limited.

        Raises:
            BalanceError: As in `wanted_counts`, or `progressive` has only one epoch.
        """
        self._labels = np.asarray(labels, dtype=str)
        self._counts = class_counts(self._labels)
        length = sum(wanted_counts(self._counts, params).values())
        self._set_up(len(self._labels), length, params, seed, epochs=epochs, max_clips=max_clips)

    def _set_up(
        self, num_clips: int, length: int, params: Resampled, seed: int, *, epochs: float, max_clips: int | None
    ) -> None:
        """Set what does not depend on how clips are drawn; `length` is the number of clips of an epoch."""
        self._num_clips, self._length = num_clips, length
        self._params, self._seed, self._epoch = params, seed, 0
        self._last = math.ceil(epochs if max_clips is None else max_clips / length) - 1
        if isinstance(params, Progressive) and self._last < 1:
            raise BalanceError(
                "balance.method = progressive: changes the class balance over the epochs, and there is only one. "
                "Train for at least 2, or use square_root or oversample."
            )

    def __len__(self) -> int:
        return self._length

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch to draw next, from 0."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        """Yield `position + copy * number of clips`, which distinguishes copies of a clip; the first is copy 0."""
        rng = np.random.default_rng([self._seed, self._epoch])
        progress = min(1.0, self._epoch / max(1, self._last))
        drawn = self._draw(progress, rng)
        return iter(rng.permutation(drawn + _copies(drawn) * self._num_clips).tolist())

    def _draw(self, progress: float, rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw the positions of an epoch; the first draw of a clip comes before its copies."""
        return draw(self._labels, wanted_counts(self._counts, self._params, progress), rng)


def _copies(drawn: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how often each clip was drawn earlier in `drawn`, same shape."""
    order = np.argsort(drawn, kind="stable")
    _, first, counts = np.unique(drawn[order], return_index=True, return_counts=True)
    before = np.empty_like(drawn)
    before[order] = np.arange(len(drawn)) - np.repeat(first, counts)
    return before
