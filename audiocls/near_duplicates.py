"""Clips that hold the same recording and not the same samples: encoded anew, resampled, louder, trimmed or padded.

Two takes of one word by one speaker are alike in any spectrogram, and no copies. What a take does not repeat is its
waveform, which a copy keeps even at a low bit rate (see `audiocls.alignment`). So
fingerprints propose pairs and waveforms decide.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audiocls.alignment import GLANCE_SECONDS, GLANCE_SIMILARITY, compare, glance
from audiocls.atomic import write_table
from audiocls.fingerprints import Fingerprints, fingerprint_clips
from audiocls.mapped import MappedWaveforms

ALGORITHM: Final = 1
"""Part of the table's name. Raise it when the same clips would have other near-duplicates."""

_LEAST_COSINE: Final = 0.85  # of vectors; of copies, nineteen in twenty have 0.92
_NEIGHBOURS: Final = 5  # proposed for each anchor
_CELL: Final = 512  # anchors that are compared with each other, about
_CELLS_PER_ANCHOR: Final = 3
_GLANCES: Final = 256  # at a time: enough to be quick, and some 20 MB


class Proposals(NamedTuple):
    """Pairs of clips that sound alike around an anchor of each; `a` < `b`, each pair once, sorted."""

    a: NDArray[np.int64]  # (num_pairs,), position of the clip
    b: NDArray[np.int64]
    seconds_a: NDArray[np.float64]  # (num_pairs,), of the anchor in its clip
    seconds_b: NDArray[np.float64]


def find_near_duplicates(clips: Path, store: Path) -> Path:
    """Find the near-duplicates of a corpus, unless that was done before, and return the table of their pairs.

    Its columns are `audio_hash_a` and `audio_hash_b`, `similarity` in [0, 1], `shift_seconds` and `overlap`. Clips
    with the same samples count as one, and segments of one file are not compared: where they overlap is known.

    Raises:
        StoreError: A file of the store is damaged.
    """
    target = clips.parent / f"near_duplicates-{ALGORITHM}.parquet"
    if not target.exists():
        table = pd.read_parquet(clips).drop_duplicates("audio_hash", ignore_index=True)
        sample_rate_hz = int(json.loads((store / "settings.json").read_text())["sample_rate_hz"])
        write_table(search(table, store, sample_rate_hz), target)
    return target


def search(clips: pd.DataFrame, store: Path, sample_rate_hz: int) -> pd.DataFrame:
    """Return the pairs of near-duplicates among clips that all have other samples, as `find_near_duplicates` says."""
    proposals = propose(fingerprint_clips(clips, store, sample_rate_hz))
    files, _ = pd.factorize(clips["path"])
    apart = files[proposals.a] != files[proposals.b]
    proposals = Proposals._make(column[apart] for column in proposals)
    waveforms = MappedWaveforms(clips, store)
    hashes = clips["audio_hash"].to_numpy()
    rows = []
    for a, b, shift_seconds in _alike(proposals, waveforms, sample_rate_hz):
        match = compare(waveforms.read(a), waveforms.read(b), shift_seconds, sample_rate_hz)
        if match.is_copy:
            rows.append((hashes[a], hashes[b], match.similarity, match.shift_seconds, match.overlap))
    columns = ["audio_hash_a", "audio_hash_b", "similarity", "shift_seconds", "overlap"]
    kinds = dict.fromkeys(columns[:2], "string") | dict.fromkeys(columns[2:], "float64")
    return pd.DataFrame(rows, columns=columns).astype(kinds)


def propose(found: Fingerprints) -> Proposals:
    """Pair clips whose anchors are near each other; the nearest of their anchors speaks for both."""
    x, y, cosine = (np.concatenate(parts) for parts in zip(*_neighbours(found), strict=True))
    swap = found.clip[x] > found.clip[y]
    x, y = np.where(swap, y, x), np.where(swap, x, y)
    order = np.lexsort((-cosine, found.clip[y], found.clip[x]))
    x, y = x[order], y[order]
    pairs = np.stack([found.clip[x], found.clip[y]])
    first = np.append(True, (np.diff(pairs) != 0).any(axis=0))[: len(x)]
    return Proposals(pairs[0, first], pairs[1, first], found.seconds[x[first]], found.seconds[y[first]])


def _alike(proposals: Proposals, waveforms: MappedWaveforms, sample_rate_hz: int) -> Iterator[tuple[int, int, float]]:
    """Yield the few pairs whose waveforms are alike around the anchors, and where the second starts in the first."""
    for start in range(0, len(proposals.a), _GLANCES):
        a, b, seconds_a, seconds_b = Proposals._make(column[start : start + _GLANCES] for column in proposals)
        first = _pieces(waveforms, a, seconds_a, sample_rate_hz)
        second = _pieces(waveforms, b, seconds_b, sample_rate_hz)
        similarity, lag_seconds = glance(first, second, sample_rate_hz)
        for i in np.flatnonzero(similarity >= GLANCE_SIMILARITY):
            yield int(a[i]), int(b[i]), float(seconds_a[i] - seconds_b[i] + lag_seconds[i])


def _pieces(
    waveforms: MappedWaveforms, clips: NDArray[np.int64], seconds: NDArray[np.float64], sample_rate_hz: int
) -> NDArray[np.float32]:
    """Read what is around one anchor of each clip, zeros beyond its ends: shape (num_clips, samples of a glance)."""
    length = round(GLANCE_SECONDS * sample_rate_hz)
    pieces = np.zeros((len(clips), length), np.float32)
    for row, clip, start in zip(
        pieces, clips, np.rint(seconds * sample_rate_hz).astype(int) - length // 2, strict=True
    ):
        piece = waveforms.read(int(clip), max(0, start), start + length)
        row[max(0, -start) :][: len(piece)] = piece
    return pieces


def _neighbours(found: Fingerprints) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]]:
    """Yield, cell by cell, anchors, the anchors of other clips that are nearest to them, and the cosine of both."""
    yield np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32)
    for members in _cells(found.vectors):
        for start in range(0, len(members), _CELL):
            rows = members[start : start + _CELL]
            cosine = found.vectors[rows] @ found.vectors[members].T
            cosine[found.clip[rows][:, None] == found.clip[members]] = -1
            most = min(_NEIGHBOURS, len(members))
            nearest = np.argpartition(-cosine, most - 1, axis=1)[:, :most]
            values = np.take_along_axis(cosine, nearest, axis=1)
            row, column = np.nonzero(values >= _LEAST_COSINE)
            yield rows[row], members[nearest[row, column]], values[row, column]


def _cells(vectors: NDArray[np.float32]) -> Iterator[NDArray[np.int64]]:
    """Yield sets of anchors that are near each other; each anchor is in several, so that no border parts a pair."""
    count = len(vectors) * _CELLS_PER_ANCHOR // _CELL
    if count <= 2 * _CELLS_PER_ANCHOR:
        yield np.arange(len(vectors))
        return
    centres = vectors[np.random.default_rng(0).choice(len(vectors), count, replace=False)]
    blocks = [
        np.argpartition(-(vectors[start : start + _CELL] @ centres.T), _CELLS_PER_ANCHOR, axis=1)
        for start in range(0, len(vectors), _CELL)
    ]
    cells = np.concatenate([block[:, :_CELLS_PER_ANCHOR].astype(np.int32) for block in blocks]).ravel()
    order = np.argsort(cells, kind="stable")
    yield from np.split(order // _CELLS_PER_ANCHOR, np.flatnonzero(np.diff(cells[order])) + 1)
