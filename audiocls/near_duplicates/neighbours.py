"""Search for similar anchors among all anchors of a corpus, in O(n log n).

Anchors are assigned to cells, and only anchors in the same cell are compared. A cell that is too large is divided by
the nearest of a few random members. If that fails because its anchors are all similar, the cell is split at random.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from audiocls.near_duplicates.fingerprints import Fingerprints

LEAST_COSINE: Final = 0.85  # of vectors; 95% of copies have at least 0.92
NEIGHBOURS: Final = 5  # proposed for each anchor
_MOST_IN_CELL: Final = 2_048
_IN_CELL: Final = 512  # target size
_CENTRES: Final = 64  # at most, in one division
# Number of cells that an anchor is assigned to at the first division, the second, and all further ones, so that few
# pairs are separated. With more than one at every division, the work would grow faster than n log n.
_COPIES: Final = (3, 2, 1)
_ROWS: Final = 512  # compared at a time


class Proposals(NamedTuple):
    """Pairs of clips that sound similar around one anchor each; `a` < `b`, each pair once, sorted."""

    a: NDArray[np.int64]  # (num_pairs,), position of the clip
    b: NDArray[np.int64]
    seconds_a: NDArray[np.float64]  # (num_pairs,), of the anchor in its clip
    seconds_b: NDArray[np.float64]


def propose(
    found: Fingerprints,
    sources: NDArray[np.int64] | None = None,
    searched: NDArray[np.bool_] | None = None,
    asking: NDArray[np.bool_] | None = None,
    seed: int = 0,
) -> Proposals:
    """Pair clips whose anchors are near each other; the nearest pair of anchors represents both clips.

    Args:
        found: The fingerprints of all clips.
        sources: Shape (num_clips,): clips with the same number are not paired. None: every clip has its own.
        searched: Shape (num_clips,): the clips that take part. None: all.
        asking: Shape (num_clips,): the searched clips whose neighbors are returned. None: all.
        seed: Seeds the division into cells.
    """
    every = np.ones(int(found.clip.max(initial=-1)) + 1, bool)
    sources = np.arange(len(every)) if sources is None else sources
    searched, asking = every if searched is None else searched, every if asking is None else asking
    anchors = np.flatnonzero(searched[found.clip])
    sets = cells(found.vectors, anchors, np.random.default_rng(seed))
    parts = [_nearest(found.vectors, members, sources[found.clip], asking[found.clip]) for members in sets]
    x, y, cosine = _best_of_cells(*(np.concatenate(column) for column in zip(_NOTHING, *parts, strict=True)))
    swap = found.clip[x] > found.clip[y]
    x, y = np.where(swap, y, x), np.where(swap, x, y)
    order = np.lexsort((-cosine, found.clip[y], found.clip[x]))
    x, y = x[order], y[order]
    pairs = np.stack([found.clip[x], found.clip[y]])
    first = np.append(True, (np.diff(pairs) != 0).any(axis=0))[: len(x)]
    return Proposals(pairs[0, first], pairs[1, first], found.seconds[x[first]], found.seconds[y[first]])


_Neighbours = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]
_NOTHING: Final[_Neighbours] = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))


def _best_of_cells(x: NDArray[np.int64], y: NDArray[np.int64], cosine: NDArray[np.float32]) -> _Neighbours:
    """Remove duplicate pairs, and keep the NEIGHBOURS nearest of each anchor over all cells."""
    _, once = np.unique(x << 32 | y, return_index=True)
    order = once[np.lexsort((-cosine[once], x[once]))]
    x, y, cosine = x[order], y[order], cosine[order]
    nearest = np.arange(len(x)) - np.searchsorted(x, x) < NEIGHBOURS
    return x[nearest], y[nearest], cosine[nearest]


def _nearest(
    vectors: NDArray[np.float32], members: NDArray[np.int64], source: NDArray[np.int64], asking: NDArray[np.bool_]
) -> _Neighbours:
    """Return the asking anchors of a cell, their nearest anchors from other sources, and the cosine similarity."""
    parts = [_NOTHING]
    asked = members[asking[members]]
    most = min(NEIGHBOURS, len(members))
    for start in range(0, len(asked), _ROWS):
        rows = asked[start : start + _ROWS]
        cosine = vectors[rows] @ vectors[members].T
        cosine[source[rows][:, None] == source[members]] = -1
        nearest = np.argpartition(-cosine, most - 1, axis=1)[:, :most]
        values = np.take_along_axis(cosine, nearest, axis=1)
        row, column = np.nonzero(values >= LEAST_COSINE)
        parts.append((rows[row], members[nearest[row, column]], values[row, column]))
    x, y, cosine = (np.concatenate(column) for column in zip(*parts, strict=True))
    return x, y, cosine


def cells(
    vectors: NDArray[np.float32], members: NDArray[np.int64], rng: np.random.Generator, depth: int = 0
) -> Iterator[NDArray[np.int64]]:
    """Yield sets of at most _MOST_IN_CELL anchors that are near each other."""
    if len(members) <= _MOST_IN_CELL:
        yield members
        return
    for cell in _divide(vectors, members, rng, _COPIES[min(depth, len(_COPIES) - 1)]):
        if len(cell) > max(len(members) // 2, _MOST_IN_CELL):
            yield from np.array_split(rng.permutation(cell), -(-len(cell) // _MOST_IN_CELL))
        else:
            yield from cells(vectors, cell, rng, depth + 1)


def _divide(
    vectors: NDArray[np.float32], members: NDArray[np.int64], rng: np.random.Generator, copies: int
) -> list[NDArray[np.int64]]:
    """Assign each member to the cells of its `copies` nearest centers, which are random members."""
    count = min(_CENTRES, len(members) * copies // _IN_CELL)
    centres = vectors[rng.choice(members, count, replace=False)]
    blocks = [
        np.argpartition(-(vectors[members[start : start + _ROWS]] @ centres.T), copies, axis=1)[:, :copies]
        for start in range(0, len(members), _ROWS)
    ]
    cell = np.concatenate(blocks).astype(np.int8).ravel()
    order = np.argsort(cell, kind="stable")
    return np.split(members[order // copies], np.flatnonzero(np.diff(cell[order])) + 1)
