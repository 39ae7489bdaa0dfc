"""Find clips of the same recording with different samples: re-encoded, resampled, louder, trimmed or padded.

Two takes of a word by the same speaker have similar spectrograms but are not copies. Their waveforms differ, while a
copy keeps its waveform even at a low bit rate (see `audiocls.near_duplicates.alignment`). So fingerprints propose
pairs, and waveforms decide.
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
from audiocls.progress import Bar, progress_bar
from audiocls.waveforms import MappedWaveforms

ALGORITHM: Final = 2
"""Part of the table's name. Increment it when the same clips would give other near-duplicates."""

_GLANCES: Final = 256  # pairs at a time: large enough to be fast, with about 20 MB of memory


def find_near_duplicates(clips: Path, store: Path) -> Path:
    """Find the near-duplicates of a corpus, unless already done, and return the path of the table of pairs.

    Its columns are `audio_hash_a` and `audio_hash_b`, `similarity` in [0, 1], `shift_seconds` and `overlap`. Clips
    with the same samples count as one, and segments of one file are not compared: their overlap is known.

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
    """Return the near-duplicate pairs of clips with distinct samples, with the columns of `find_near_duplicates`.

    Of the clips of one recording, only the longest stays in the search. Clips that were paired with a removed clip
    search again. So a clip whose nearest neighbors are all copies of one recording also finds the next recording,
    however many copies there are. The search ends after a round that removes no clip.
    """
    found = fingerprint_clips(clips, store, sample_rate_hz)
    files, _ = pd.factorize(clips["path"])
    waveforms = MappedWaveforms(clips, store)
    searched = asking = np.ones(len(clips), bool)
    tried, copies, rounds = np.empty((2, 0), np.int64), list[_Copy](), 0
    with progress_bar("comparing", 0, "pairs") as bar:
        while asking.any():
            proposals = _without(propose(found, files, searched, asking, seed=rounds), tried)
            tried = np.append(tried, np.stack(proposals[:2]), axis=1)
            bar.expect(tried.shape[1])
            copies += _verified(proposals, waveforms, sample_rate_hz, bar)
            kept = _longest(copies, waveforms.num_samples)
            gone = ~kept[tried] & searched[tried]
            asking = np.zeros(len(clips), bool)
            asking[tried[::-1][gone]] = True
            asking, searched, rounds = asking & kept, kept, rounds + 1
    return _tabulate(copies, clips["audio_hash"].to_numpy())


_Copy = tuple[int, int, Match]


def _without(proposals: Proposals, tried: NDArray[np.int64]) -> Proposals:
    """Remove the pairs that an earlier round has tried; `tried` has shape (2, num_pairs)."""
    new = ~np.isin(proposals.a << 32 | proposals.b, tried[0] << 32 | tried[1])
    return Proposals._make(column[new] for column in proposals)


def _verified(proposals: Proposals, waveforms: MappedWaveforms, sample_rate_hz: int, bar: Bar) -> Iterator[_Copy]:
    """Yield the pairs whose waveforms contain the same recording."""
    for a, b, shift_seconds in _alike(proposals, waveforms, sample_rate_hz, bar):
        match = compare(waveforms.read(a), waveforms.read(b), shift_seconds, sample_rate_hz)
        if match.is_copy:
            yield a, b, match


def _longest(copies: list[_Copy], num_samples: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return whether each clip is the longest of the clips that copies link, or the first of equally long ones."""
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


def _alike(
    proposals: Proposals, waveforms: MappedWaveforms, sample_rate_hz: int, bar: Bar
) -> Iterator[tuple[int, int, float]]:
    """Yield pairs whose waveforms are similar around the anchors, with the seconds at which `b` starts in `a`."""
    for start in range(0, len(proposals.a), _GLANCES):
        a, b, seconds_a, seconds_b = Proposals._make(column[start : start + _GLANCES] for column in proposals)
        first = _pieces(waveforms, a, seconds_a, sample_rate_hz)
        second = _pieces(waveforms, b, seconds_b, sample_rate_hz)
        similarity, lag_seconds = glance(first, second, sample_rate_hz)
        for i in np.flatnonzero(similarity >= GLANCE_SIMILARITY):
            yield int(a[i]), int(b[i]), float(seconds_a[i] - seconds_b[i] + lag_seconds[i])
        bar.advance(len(a))


def _pieces(
    waveforms: MappedWaveforms, clips: NDArray[np.int64], seconds: NDArray[np.float64], sample_rate_hz: int
) -> NDArray[np.float32]:
    """Read the samples around one anchor of each clip, zero-padded: shape (num_clips, num_samples)."""
    length = round(GLANCE_SECONDS * sample_rate_hz)
    pieces = np.zeros((len(clips), length), np.float32)
    for row, clip, start in zip(
        pieces, clips, np.rint(seconds * sample_rate_hz).astype(int) - length // 2, strict=True
    ):
        piece = waveforms.read(int(clip), max(0, start), start + length)
        row[max(0, -start) :][: len(piece)] = piece - piece.mean()
    return pieces
