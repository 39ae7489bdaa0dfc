"""Clips that hold the same recording and not the same samples: encoded anew, resampled, louder, trimmed or padded.

Two takes of one word by one speaker are alike in any spectrogram, and no copies. What a take does not repeat is its
waveform, which a copy keeps even at a low bit rate (see `audiocls.near_duplicates.alignment`). So
fingerprints propose pairs and waveforms decide.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import scipy.sparse
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from audiocls.files import write_table
from audiocls.near_duplicates.alignment import GLANCE_SECONDS, GLANCE_SIMILARITY, Match, compare, glance
from audiocls.near_duplicates.fingerprints import fingerprint_clips
from audiocls.near_duplicates.neighbours import Proposals, propose
from audiocls.waveforms import MappedWaveforms

ALGORITHM: Final = 2
"""Part of the table's name. Raise it when the same clips would have other near-duplicates."""

_GLANCES: Final = 256  # at a time: enough to be quick, and some 20 MB


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
    """Return the pairs of near-duplicates among clips that all have other samples, as `find_near_duplicates` says.

    Of the clips that hold one recording, only the longest stays in the search, and the clips that sounded like the
    others look for neighbours again. So a clip whose nearest neighbours are all copies of one kind finds the next
    kind, however many copies there are. The search ends with the round that links nothing.
    """
    found = fingerprint_clips(clips, store, sample_rate_hz)
    files, _ = pd.factorize(clips["path"])
    waveforms = MappedWaveforms(clips, store)
    searched = asking = np.ones(len(clips), bool)
    tried, copies, rounds = np.empty((2, 0), np.int64), list[_Copy](), 0
    while asking.any():
        proposals = _without(propose(found, files, searched, asking, seed=rounds), tried)
        tried = np.append(tried, np.stack(proposals[:2]), axis=1)
        copies += _verified(proposals, waveforms, sample_rate_hz)
        kept = _longest(copies, waveforms.num_samples)
        gone = ~kept[tried] & searched[tried]
        asking = np.zeros(len(clips), bool)
        asking[tried[::-1][gone]] = True
        asking, searched, rounds = asking & kept, kept, rounds + 1
    return _tabulate(copies, clips["audio_hash"].to_numpy())


_Copy = tuple[int, int, Match]


def _without(proposals: Proposals, tried: NDArray[np.int64]) -> Proposals:
    """Leave out the pairs that an earlier round has tried; their clips are in `tried`, shape (2, num_pairs)."""
    new = ~np.isin(proposals.a << 32 | proposals.b, tried[0] << 32 | tried[1])
    return Proposals._make(column[new] for column in proposals)


def _verified(proposals: Proposals, waveforms: MappedWaveforms, sample_rate_hz: int) -> Iterator[_Copy]:
    """Yield the pairs whose waveforms hold the same recording."""
    for a, b, shift_seconds in _alike(proposals, waveforms, sample_rate_hz):
        match = compare(waveforms.read(a), waveforms.read(b), shift_seconds, sample_rate_hz)
        if match.is_copy:
            yield a, b, match


def _longest(copies: list[_Copy], num_samples: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each clip is the longest, and of equally long ones the first, of those that copies link to it."""
    pairs = np.array([copy[:2] for copy in copies], np.int64).reshape(-1, 2).T
    edges = scipy.sparse.coo_matrix((np.ones(pairs.shape[1]), tuple(pairs)), shape=(len(num_samples),) * 2)
    _, unit = connected_components(edges, directed=False)
    order = np.lexsort((-num_samples, unit))
    longest = np.zeros(len(num_samples), bool)
    longest[order[np.unique(unit[order], return_index=True)[1]]] = True
    return longest


def _tabulate(copies: list[_Copy], hashes: NDArray[np.object_]) -> pd.DataFrame:
    rows = [
        (hashes[a], hashes[b], match.similarity, match.shift_seconds, match.overlap) for a, b, match in sorted(copies)
    ]
    columns = ["audio_hash_a", "audio_hash_b", "similarity", "shift_seconds", "overlap"]
    kinds = dict.fromkeys(columns[:2], "string") | dict.fromkeys(columns[2:], "float64")
    return pd.DataFrame(rows, columns=columns).astype(kinds)


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
        row[max(0, -start) :][: len(piece)] = piece - piece.mean()
    return pieces
