"""Clips that share sound, and which of them to drop so that no sound is on both sides of a split.

Clips share sound if their samples are the same, if they are near-duplicates (directly or through others), or if they
overlap in their recording. Overlaps are not transitive: of three clips in a row, the outer two share nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import pandas as pd
import scipy.sparse
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from audiocls.sources import SPLITS

COPY: Final = "copy_across_splits"
REMEMBERED: Final = "remembered_elsewhere"

Positions = NDArray[np.int64]


def same_sound(table: pd.DataFrame, near: pd.DataFrame | None = None) -> pd.Series:
    """Number the sounds; clips with the same samples and near-duplicates share a number.

    Args:
        table: Clips with `audio_hash`, the hash of the decoded samples.
        near: Pairs of near-duplicates, `audio_hash_a` and `audio_hash_b`; pairs with a recording that is not in
            `table` are ignored.

    Returns:
        With the index of `table`.
    """
    codes, hashes = pd.factorize(table["audio_hash"])
    if near is None or near.empty:
        return pd.Series(codes, index=table.index)
    pairs = np.stack([pd.Index(hashes).get_indexer(near[f"audio_hash_{side}"]) for side in "ab"])
    a, b = pairs[:, (pairs >= 0).all(axis=0)]
    edges = scipy.sparse.coo_matrix((np.ones(len(a)), (a, b)), shape=(len(hashes), len(hashes)))
    _, component = connected_components(edges, directed=False)
    return pd.Series(component[codes].astype(np.int64), index=table.index)


class SharedSound:
    """Finds for each clip of a table one of the chosen clips that it shares sound with."""

    def __init__(self, table: pd.DataFrame, near: pd.DataFrame | None = None) -> None:
        """Take the arguments of `same_sound`; segments also need `recording_hash`, `start_sample` and `num_samples`."""
        self._sound = same_sound(table, near).to_numpy()
        self.stretches = stretches_of(table)

    def partners(self, chosen: NDArray[np.bool_]) -> Positions:
        """Return for each clip the position of a chosen clip that it shares sound with, or -1; shape (num_clips,)."""
        same = self.spread(np.where(chosen, np.arange(len(chosen)), -1))
        if self.stretches is None:
            return same
        touched = np.where(same >= 0, same, self.stretches.touched(self.stretches, same >= 0, same))
        return np.where(touched >= 0, touched, self.spread(touched))

    def spread(self, positions: Positions) -> Positions:
        """Give every clip the maximum over the clips with the same sound."""
        greatest = np.full(self._sound.max(initial=-1) + 1, -1, np.int64)
        np.maximum.at(greatest, self._sound, positions)
        return greatest[self._sound]


class Stretches:
    """Spans of samples in recordings."""

    def __init__(self, recordings: pd.Series, starts: Positions, stops: Positions) -> None:
        """Take the recording hash of each span, and its samples from `starts` up to but excluding `stops`."""
        self.recordings = recordings.to_numpy()
        self.starts, self.stops = starts, stops

    def touched(self, others: Stretches, chosen: NDArray[np.bool_], values: Positions) -> Positions:
        """Return, for each span, the value of one of the chosen `others` that it overlaps, or -1."""
        found = np.full(len(self.starts), -1, np.int64)
        codes, names = pd.factorize(others.recordings[chosen])
        if not len(names):
            return found
        room = 1 + max(int(self.stops.max(initial=0)), int(others.stops.max(initial=0)))
        starts, stops = codes * room + others.starts[chosen], codes * room + others.stops[chosen]
        order = np.argsort(starts, kind="stable")
        farthest = np.maximum.accumulate(stops[order])
        reaching = np.maximum.accumulate(np.where(stops[order] == farthest, np.arange(len(order)), 0))
        recording = pd.Index(names).get_indexer(self.recordings)
        before = np.searchsorted(starts[order], recording * room + self.stops) - 1  # the last with an early start
        overlaps = (recording >= 0) & (before >= 0)
        overlaps[overlaps] = farthest[before[overlaps]] > (recording * room + self.starts)[overlaps]
        found[overlaps] = values[chosen][order[reaching[before[overlaps]]]]
        return found


def stretches_of(table: pd.DataFrame) -> Stretches | None:
    """Return the span of each clip in its recording; None if the table has no recordings."""
    if "recording_hash" not in table:
        return None
    starts = table["start_sample"].to_numpy(np.int64)
    return Stretches(table["recording_hash"], starts, starts + table["num_samples"].to_numpy(np.int64))


def leave_out(
    table: pd.DataFrame,
    near: pd.DataFrame | None = None,
    known: Mapping[str, Callable[[SharedSound], Positions]] | None = None,
) -> pd.DataFrame:
    """Return which clips to drop so that no sound is in two splits, or in another split than in an earlier run.

    Of copies in several splits, those in test are kept first, then those in validation. Dropping a copy from training
    costs one of many training clips. Dropping it from test would make the score less certain, as a class may have few
    test clips. So the test split keeps its size and all its classes. A sound that an earlier run used stays in the
    split of that run: what a model was trained on must not test its successor, and what tested it must not train the
    successor.

    Args:
        table: Clips with `clip_id`, `split`, and the columns of `SharedSound`.
        near: Pairs of near-duplicates that count as one recording.
        known: By split, a function that returns which clips share sound with it in an earlier run: 0 or more, else -1.

    Returns:
        One row per clip to drop, with the index of `table`: `reason` and `detail`.
    """
    known = known or {}
    sound = SharedSound(table, near)
    split = table["split"].to_numpy(object)
    there = np.ones(len(table), bool)
    earlier = np.full(len(table), None, object)
    for name, find in known.items():
        elsewhere = (find(sound) >= 0) & (split != name)
        earlier[elsewhere] = name
        there &= ~elsewhere
    partner = np.full(len(table), -1, np.int64)
    for rank in (2, 1):
        found = sound.partners(there & (split == SPLITS[rank]))
        copies = there & (found >= 0) & np.isin(split, SPLITS[:rank])
        partner[copies] = found[copies]
        there &= ~copies
    for name in known:  # name the copy that stays, if present
        found = sound.partners(there & (split == name))
        partner = np.where((earlier == name) & (partner < 0), found, partner)
    return _rows(table, ~there, partner, earlier)


def _rows(
    table: pd.DataFrame, out: NDArray[np.bool_], partner: Positions, earlier: NDArray[np.object_]
) -> pd.DataFrame:
    names, splits = table["clip_id"].to_numpy(object), table["split"].to_numpy(object)
    rows = [
        (COPY, f"shares sound with {names[partner[i]]} ({splits[partner[i]]})")
        if partner[i] >= 0
        else (REMEMBERED, f"an earlier run had this recording, or a part of it, in {earlier[i]}")
        for i in np.flatnonzero(out)
    ]
    return pd.DataFrame(rows, columns=["reason", "detail"], index=table.index[out], dtype=object)
