"""Assign groups to splits or folds by a hash of the group's name, then move some groups to stratify the classes.

With the hash alone, no group would ever move when others are added or removed. The moves with the largest gain come
first, and of these the ones nearest to a threshold, so that about as few groups move as stratification needs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audiocls.sources import NO_LABEL, SPLITS, by_label, is_multi_label

TRAIN, VALIDATION, TEST = range(3)
# A move must gain this much per class that it affects. The best moves come first, so that few groups leave the split
# of their hash. The last thresholds accept any gain, until there is none.
_LEAST_GAINS: Final = (0.4, 0.1, 0.01, *[1e-9] * 20)
# Cost of a class that is missing from a score: more than moving the smaller of two groups can cost, and less than the
# gain if most clips leave a held-out split.
_UNSCORED: Final = 0.5
# Groups are evaluated in batches, up to the first that moves. A batch without a move doubles the size of the next.
_FEWEST_TOGETHER: Final = 32


def labels_to_stratify(table: pd.DataFrame) -> pd.Series:
    """Return the `labels` of `split_groups` for a table of clips; having no label is stratified like a class."""
    labels = by_label(table)["label"]
    if not is_multi_label(table):
        return labels
    none = table.index.difference(labels.index)
    return pd.concat([labels, pd.Series(NO_LABEL, none, dtype=object)])


def split_groups(
    groups: pd.Series,
    labels: pd.Series,
    test: float,
    validation: float,
    seed: int,
    fixed: Mapping[str, str] | None = None,
) -> pd.Series:
    """Split clips by group.

    A class with at least three groups is in all three splits, unless groups with several classes prevent it. A class
    with fewer groups is in training first.

    Args:
        groups: Group name of each clip, shape (num_clips,).
        labels: Class of each clip, the same index; of clips with several labels, one entry for each, with the index of
            its clip.
        test: Fraction of the clips for test, in [0, 1).
        validation: Fraction for validation; test + validation < 1.
        seed: Seed of the hashes.
        fixed: Split of the groups that must stay where they are; new groups are stratified around them.

    Returns:
        "train", "validation" or "test" of each clip, with the index of `groups`.
    """
    codes, names, counts = _count(groups, labels)
    hashes = _hashes(names, str(seed))
    split = np.where(hashes < test, TEST, np.where(hashes < test + validation, VALIDATION, TRAIN))
    fractions = np.array([1 - test - validation, validation, test])
    distance = np.minimum(np.abs(hashes - test), np.abs(hashes - test - validation))
    order = _fix(split, names, {name: SPLITS.index(where) for name, where in (fixed or {}).items()}, distance)
    # A group larger than a held-out split of its class starts in training: no single move would bring it there later.
    total = counts.total()
    large = np.zeros(len(names), bool)
    large[counts.group[counts.clips / total[counts.column] > fractions[1:].max()]] = True
    split[order[large[order]]] = TRAIN
    # A class without training clips costs more than any distance.
    absent = np.array([3.0 * len(total), _UNSCORED, _UNSCORED])
    _stratify(split, counts, fractions, absent, order)
    return pd.Series(np.array(SPLITS)[split[codes]], index=groups.index)


def fold_groups(
    groups: pd.Series, labels: pd.Series, folds: int, seed: int, fixed: Mapping[str, int] | None = None
) -> pd.Series:
    """Distribute clips by group over folds of similar size and class distribution.

    Args:
        groups: Group name of each clip, shape (num_clips,).
        labels: As in `split_groups`.
        folds: Number of folds, two or more.
        seed: Seed of the hashes, which differ from those of `split_groups`.
        fixed: Fold of the groups that must stay where they are; new groups are stratified around them.

    Returns:
        The fold of each clip, 0 to folds - 1, with the index of `groups`.
    """
    codes, names, counts = _count(groups, labels)
    hashes = _hashes(names, f"folds\x1f{seed}") * folds
    fold = hashes.astype(np.int64)
    order = _fix(fold, names, fixed or {}, np.abs(hashes - np.rint(hashes)))
    _stratify(fold, counts, np.full(folds, 1 / folds), np.full(folds, _UNSCORED), order)
    return pd.Series(fold[codes], index=groups.index)


@dataclass(frozen=True, slots=True)
class _Counts:
    """Nonzero clip counts by group and class, sorted by group; all clips together are one more class."""

    group: NDArray[np.int64]  # (num_entries,), an index into the names
    column: NDArray[np.int64]  # the class; the last is all clips together, so that no split is left empty
    clips: NDArray[np.float64]

    def total(self) -> NDArray[np.float64]:
        """Return the clips of each column."""
        return np.bincount(self.column, self.clips).astype(np.float64, copy=False)

    def by_split(self, split: NDArray[np.int64], num_splits: int) -> NDArray[np.float64]:
        """Return the clips of each split and column, given the split of each group."""
        columns = int(self.column.max()) + 1
        cells = split[self.group] * columns + self.column
        clips = np.bincount(cells, self.clips, num_splits * columns).astype(np.float64, copy=False)
        return clips.reshape(num_splits, columns)

    def of(self, groups: NDArray[np.int64]) -> _Counts:
        """Return the entries of some groups in their order; `group` is then an index into these."""
        first = np.searchsorted(self.group, groups)
        sizes = np.searchsorted(self.group, groups, side="right") - first
        row = np.repeat(np.arange(len(groups)), sizes)
        entries = np.arange(len(row)) + (first - np.cumsum(sizes) + sizes)[row]
        return _Counts(row, self.column[entries], self.clips[entries])


def _count(groups: pd.Series, labels: pd.Series) -> tuple[NDArray[np.int64], NDArray[np.object_], _Counts]:
    """Return the group of each clip as an index, the group names, and clips by group and class."""
    codes, names = pd.factorize(groups, sort=True)
    classes, labels_there = pd.factorize(labels, sort=True)
    columns = len(labels_there) + 1
    of_clips = codes if labels.index.equals(groups.index) else codes[groups.index.get_indexer(labels.index)]
    cells = np.concatenate([of_clips * columns + classes, codes * columns + columns - 1])
    cells, clips = np.unique(cells, return_counts=True)
    return codes, np.asarray(names), _Counts(cells // columns, cells % columns, clips.astype(np.float64))


def _hashes(names: NDArray[np.object_], salt: str) -> NDArray[np.float64]:
    """Map each name to a number that is uniform in [0, 1)."""
    digests = (hashlib.sha256(f"{salt}\x1f{name}".encode()).digest() for name in names)
    # 53 bits, the precision of float64: with 64, the largest would be rounded up to 1.
    return np.array([(int.from_bytes(digest[:8], "big") >> 11) / 2**53 for digest in digests])


def _fix(
    split: NDArray[np.int64], names: NDArray[np.object_], fixed: Mapping[str, int], distance: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Assign the fixed groups in place; return the others, the nearest to a threshold first."""
    stays = np.array([name in fixed for name in names])
    split[stays] = [fixed[name] for name in names[stays]]
    order = np.argsort(distance, kind="stable")
    return order[~stays[order]]


def _stratify(
    split: NDArray[np.int64],
    counts: _Counts,
    fractions: NDArray[np.float64],
    absent: NDArray[np.float64],
    order: NDArray[np.int64],
) -> None:
    """Move single groups in place, as long as this brings the classes closer to their fractions.

    Args:
        split: Split of each group, shape (num_groups,).
        counts: Clips by group and class.
        fractions: Target fraction of each split, shape (num_splits,).
        absent: Cost of a class that is missing from a split, shape (num_splits,); distances are at most 1.
        order: Groups in the order in which they are tried; other groups stay where they are.
    """
    tried = counts.of(order)
    starts = np.searchsorted(tried.group, np.arange(len(order) + 1))
    cost = _Cost(counts.total(), fractions, absent)
    have = counts.by_split(split, len(fractions))
    where = split[order]
    for least_gain in _LEAST_GAINS:
        moves = 0
        for row, to in _moves(tried, starts, where, have, cost, least_gain):
            entries = slice(starts[row], starts[row + 1])
            have[where[row], tried.column[entries]] -= tried.clips[entries]
            have[to, tried.column[entries]] += tried.clips[entries]
            where[row] = to
            moves += 1
        if not moves and least_gain == _LEAST_GAINS[-1]:
            break
    split[order] = where


def _moves(
    tried: _Counts,
    starts: NDArray[np.int64],
    where: NDArray[np.int64],
    have: NDArray[np.float64],
    cost: _Cost,
    least_gain: float,
) -> Iterator[tuple[int, int]]:
    """Yield (row, target split) in one pass; each move is applied before the next is searched for."""
    start, together = 0, _FEWEST_TOGETHER
    while start < len(where):
        stop = min(start + together, len(where))
        entries = slice(starts[start], starts[stop])
        columns, clips = tried.column[entries], tried.clips[entries]
        more = cost.of_entries(where[tried.group[entries]], columns, clips, have)
        costs = np.add.reduceat(more, starts[start:stop] - starts[start], axis=1)
        to = costs.argmin(axis=0)
        positions = np.arange(stop - start)
        gains = costs[where[start:stop], positions] - costs[to, positions]
        moving = gains > least_gain * np.diff(starts[start : stop + 1])
        first = int(moving.argmax())
        if moving[first]:
            yield start + first, int(to[first])
            start, together = start + first + 1, _FEWEST_TOGETHER
        else:
            start, together = stop, 2 * together


class _Cost:
    """Squared distance of the splits to their target fractions of each class, plus the cost of missing classes."""

    def __init__(self, total: NDArray[np.float64], fractions: NDArray[np.float64], absent: NDArray[np.float64]) -> None:
        self._want = fractions[:, None] * total
        # Relative to the class size; the distance of all clips together counts a ninth.
        self._scale = np.append(total[:-1], 3 * total[-1])
        self._absent = absent[:, None]
        self._closed = fractions == 0

    def of_entries(
        self,
        where: NDArray[np.int64],
        columns: NDArray[np.int64],
        clips: NDArray[np.float64],
        have: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Return how much some clips would add to the cost of each split, shape (num_splits, num_entries)."""
        others = have[:, columns]
        others[where, np.arange(len(columns))] -= clips
        more = self._of(others + clips, columns) - self._of(others, columns)
        more[self._closed] = np.inf
        return more

    def _of(self, clips: NDArray[np.float64], columns: NDArray[np.int64]) -> NDArray[np.float64]:
        distance = np.square((clips - self._want[:, columns]) / self._scale[columns])
        return distance + self._absent * (clips == 0)
